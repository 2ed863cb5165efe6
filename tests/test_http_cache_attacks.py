"""Poisoning, deception, leaks, floods: by what attackers send, and by what they write to the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cache_ext import ConfigurationError, HttpCacheOptions, TieredCache
from cache_ext.errors import UnsupportedValue
from cache_ext.http_cache.keys import Places
from cache_ext.http_cache.stored import Parts, StoredResponse, decode_stored, encode_stored
from cache_ext.reading.found import UNCHECKED_LIFE
from tests.caches import connected
from tests.http_stage import Stage, make_environ
from tests.servers import RunningServer
from tests.waiting import until


@pytest.fixture
def stage(make_cache: Callable[..., TieredCache]) -> Stage:
    """A stage in one process."""
    return Stage(make_cache())


def echo(name: str, control: str = "max-age=60") -> Callable[..., list[bytes]]:
    """Return an application that answers with what the environment has under *name*."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Cache-Control", control), ("Content-Type", "text/plain")])
        return [str(environ.get(name)).encode()]

    return app


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/account", "/account;.css"),
        ("/account", "/account/x.css"),
        ("/account", "/account%2ecss"),
        ("/account", "/account\x00.css"),
        ("/account", "/account\n"),
        ("/account", "//account"),
        ("/account", "/./account"),
        ("/a?x=1&x=2", "/a?x=2&x=1"),
        ("/a?x=1", "/a?x=1&"),
        ("/a?x=1", "/a?x=1#"),
        ("/a?x=%41", "/a?x=A"),
        ("/a?x=1;y=2", "/a?x=1&y=2"),
        ("/a\u00e9", "/a%E9"),
        ("/a b", "/a+b"),
        ("/a{b}", "/a~b~"),
        ("/a|b", "/a%7Cb"),
    ],
)
def test_no_two_urls_share_a_response(stage: Stage, one: str, other: str) -> None:
    """Deception: what a cache takes for the same and the application does not, or the other way round."""
    assert stage.get(one).body != stage.get(other).body
    assert stage.get(one).outcome == "HIT"


def test_names_cannot_be_made_to_meet() -> None:
    """Parts of a URL cannot pass for one another, nor text for the hash of another URL."""
    urls = [
        {"PATH_INFO": "/a/b"},
        {"SCRIPT_NAME": "/a", "PATH_INFO": "/b"},
        {"HTTP_HOST": "example.com/a", "PATH_INFO": "/b"},
        {"PATH_INFO": "/a/b?c"},
        {"PATH_INFO": "/a/b", "QUERY_STRING": "c"},
        {"PATH_INFO": "/a|/b"},
        {"PATH_INFO": "/" + "x" * 5000},
        {"PATH_INFO": "/" + "x" * 5001},
        {"HTTP_HOST": "~" + "0" * 64, "PATH_INFO": "/"},
        {"HTTP_HOST": "EXAMPLE.com", "PATH_INFO": "/a/b"},
    ]
    places = [Places().of({**make_environ("GET", "/"), "PATH_INFO": "", **url}) for url in urls]
    assert len({place.key for place in places}) == len(urls)
    assert all(len(place.key) < 400 for place in places), "however long the URL"


def test_many_urls_take_little_memory() -> None:
    """What is kept at hand of URLs is bounded."""
    places = Places()
    for number in range(20_000):
        places.of({**make_environ("GET", "/"), "QUERY_STRING": f"n={number}"})
    assert len(places._known) <= 8_192


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-API-Key"])
def test_what_one_caller_gets_reaches_no_other(make_cache: Callable[..., TieredCache], name: str) -> None:
    """Neither by storing what he got, nor by giving him what was stored without asking for him."""
    stage = Stage(make_cache(), credentials=("Authorization", "Cookie", "X-API-Key"))
    stage.script.answer = echo("HTTP_" + name.upper().replace("-", "_"))
    assert stage.get(headers={name: "mine"}).body == b"mine"
    assert stage.get(headers={name: "other"}).body == b"other"
    assert stage.get().body == b"None"
    assert stage.get(headers={name: "mine"}).body == b"mine"
    assert stage.get().outcome == "HIT"


def test_a_crowd_with_credentials_does_not_wait_for_each_other(stage: Stage) -> None:
    """What was stored for all does not stand in the way of who says who he is."""
    stage.get()
    assert [stage.get(headers={"Cookie": f"id={n}"}).body for n in (2, 3)] == [b"answer 2", b"answer 3"]


def test_a_cookie_is_never_stored(stage: Stage) -> None:
    """A response that sets one is its asker's, whatever else it says."""
    stage.script.says("public, s-maxage=60", ("Set-Cookie", "id=1"))
    replies = [stage.get() for _ in range(2)]
    assert [reply["Set-Cookie"] for reply in replies] == ["id=1"] * 2
    assert stage.asked == 2


def test_an_override_of_the_method_changes_nothing_stored(stage: Stage) -> None:
    """A GET that says it is a DELETE is a GET where its answer is stored."""
    stage.script.answer = echo("HTTP_X_HTTP_METHOD_OVERRIDE")
    assert stage.get(headers={"X-HTTP-Method-Override": "DELETE"}).body == b"None"


def test_a_field_may_be_shown_if_the_application_answers_for_it(
    make_cache: Callable[..., TieredCache],
) -> None:
    """`shown` lets it through; then Vary has to name it."""
    stage = Stage(make_cache(), shown=("X-Forwarded-Host",))

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [("Cache-Control", "max-age=60"), ("Content-Type", "text/plain")]
        start_response("200 OK", [*headers, ("Vary", "X-Forwarded-Host")])
        return [environ.get("HTTP_X_FORWARDED_HOST", "-").encode()]

    stage.script.answer = app
    assert stage.get(headers={"X-Forwarded-Host": "evil"}).body == b"evil"
    assert stage.get().body == b"-"


GOOD = Parts(
    status="200 OK",
    headers=(("X", "y"),),
    bodies={"": b"body"},
    etag='"a"',
    own_etag=False,
    last_modified="",
    made=0.0,
    modified=0.0,
    excess=0.0,
    stale_while_revalidate=0.0,
    stale_if_error=0.0,
    validate=False,
    never_stale=False,
    for_all=False,
    vary=(),
    choice=(),
)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "200 OK\r\nX: y"},
        {"status": "OK"},
        {"status": "2000"},
        {"headers": (("X\r\nSet-Cookie", "a=b"),)},
        {"headers": (("X", "a\r\nSet-Cookie: a=b"),)},
        {"headers": (("Set-Cookie", "a=b"),)},
        {"headers": (("Transfer-Encoding", "chunked"),)},
        {"headers": (("Content-Length", "1"),)},
        {"headers": (("X", "\u0100"),)},
        {"etag": '"a"\r\nX: y'},
        {"last_modified": "x\nSet-Cookie: a=b"},
        {"bodies": {}},
        {"bodies": {"gzip": b""}},
        {"bodies": {"": b"", "x\r\nSet-Cookie: a": b""}},
        {"excess": float("nan")},
        {"vary": ("accept",)},
    ],
)
def test_bytes_that_could_do_harm_are_no_response(change: dict[str, Any]) -> None:
    """Whoever can write to the store cannot split headers, set cookies, or break the framing."""
    bad = msgspec.msgpack.encode(msgspec.structs.replace(GOOD, **change))
    with pytest.raises(ValueError, match=r".+"):
        decode_stored(bad)
    with pytest.raises(ValueError, match=r".+"):
        encode_stored(StoredResponse(msgspec.structs.replace(GOOD, **change)))


def test_good_bytes_are_a_response() -> None:
    """And come back as they were."""
    assert decode_stored(encode_stored(StoredResponse(GOOD))).parts == GOOD


@pytest.mark.parametrize("garbage", ["text", 7, {"status": "200 OK"}, None])
def test_what_is_no_response_is_a_miss(stage: Stage, garbage: object) -> None:
    """A value of another kind in a response's place is replaced, and served to nobody."""
    stage.cache.set("http:{http://example.com/}", garbage, ttl=60)
    assert stage.get().body == b"answer 1"
    assert stage.get().outcome == "HIT"


def test_processes_share_what_is_stored(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """What one stored the other serves, all codings, and what one ends has ended for the other."""
    one, other = (Stage(connected(make_cache(redis_url))) for _ in range(2))
    one.script.says("max-age=60", ("Surrogate-Key", "things"), ("Vary", "X-Kind"), body=b"text " * 500)
    first, second = one.get(), other.get()
    assert (first.body, second.body, second.outcome, other.asked) == (b"text " * 500, first.body, "HIT", 0)
    assert other.get(headers={"Accept-Encoding": "br"})["Content-Encoding"] == "br"
    assert one.get(headers={"X-Kind": "a"}).outcome == "MISS"
    assert other.get(headers={"X-Kind": "a"}).outcome == "HIT"
    assert other.send("POST", body=b"x").status == 200
    until(lambda: one.get().outcome == "MISS", "the other process has heard of it")
    until(lambda: one.get(headers={"X-Kind": "a"}).outcome == "MISS", "and of the other choices")


def test_with_the_cache_off_everything_goes_through(make_cache: Callable[..., TieredCache]) -> None:
    """Untouched, on any method."""
    stage = Stage(make_cache(enabled=False))
    assert [stage.get().body for _ in range(2)] == [b"answer 1", b"answer 2"]
    assert stage.get().outcome is None


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a b"},
        {"longest": 0},
        {"longest": float("nan")},
        {"timeout": 0},
        {"max_variants": 0},
        {"max_body_bytes": -1},
        {"credentials": ("X Y",)},
        {"shown": ("",)},
        {"uncacheable_for": -1},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    """When the door is made, not at the first request."""
    with pytest.raises(ConfigurationError):
        HttpCacheOptions(**options)


def test_what_http_does_not_allow_is_passed_on(make_cache: Callable[..., TieredCache]) -> None:
    """A response that cannot be stored safely is its asker's; nothing is stored, nothing fails."""
    stage = Stage(make_cache(), checked=False)
    stage.script.says("max-age=60", ("X-Odd", "\x01"))
    assert [stage.get().body for _ in range(2)] == [b"answer 1", b"answer 2"]
    with pytest.raises(UnsupportedValue):
        stage.cache.set("k", StoredResponse(msgspec.structs.replace(GOOD, etag="\n")), ttl=1)


def test_what_nobody_can_check_is_served_for_a_moment_only(
    make_cache: Callable[..., TieredCache], own_redis_server: RunningServer
) -> None:
    """While Redis is away, L1 serves responses as it serves values: for five seconds from their load."""
    stage = Stage(connected(make_cache(own_redis_server.url)))
    stage.script.says("max-age=60")
    assert stage.get().body == b"answer 1"
    slot = stage.cache.runtime.near.get("http:{http://example.com/}")
    own_redis_server.kill()
    until(lambda: time.monotonic() >= stage.cache.runtime.trust.live_until, "L1 is believed no more")
    assert stage.get().body == b"answer 1"
    assert slot is not None
    slot.loaded -= UNCHECKED_LIFE
    assert stage.get().body == b"answer 2"
