"""The HTTP cache around an application: what is served, when the application is asked, and with what."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest

from cache_ext import TieredCache
from cache_ext.http_cache.considering import REPLACED
from cache_ext.testing import FakeClock
from tests.http_stage import TEXT, Stage, date
from tests.market_stage import with_clock
from tests.waiting import until

OpenStage = Callable[..., Stage]


@pytest.fixture
def open_stage(make_cache: Callable[..., TieredCache], clock: FakeClock) -> OpenStage:
    """Open stages on a cache of their own that goes by the fake clock."""

    def open_one(**options: object) -> Stage:
        return Stage(with_clock(make_cache(), clock), clock, **options)

    return open_one


@pytest.fixture
def stage(open_stage: OpenStage) -> Stage:
    """A stage as it is set up without options."""
    return open_stage()


def test_a_fresh_response_is_served_until_its_end(stage: Stage, clock: FakeClock) -> None:
    """RFC 9111, 4.2: fresh while its lifetime exceeds its age; the application is asked again after that."""
    first = stage.get()
    clock.advance(57)
    second = stage.get()
    clock.advance(3)
    third = stage.get()
    assert (first.outcome, second.outcome, third.outcome) == ("MISS", "HIT", "MISS")
    assert (first.body, second.body, third.body) == (b"answer 1", b"answer 1", b"answer 2")


def test_age_is_sent_and_grows(stage: Stage, clock: FakeClock) -> None:
    """RFC 9111, 4.2.3 and 5.1: what the response said, and how long it lies here."""
    stage.script.says("max-age=60", ("Age", "10"))
    assert stage.get()["Age"] == "10"
    clock.advance(20)
    assert stage.get()["Age"] == "30"
    clock.advance(30)
    assert stage.get().outcome == "MISS"


def test_apparent_age_counts(stage: Stage, clock: FakeClock) -> None:
    """RFC 9111, 4.2.3: an old Date makes a response old."""
    stage.script.says("max-age=60", ("Date", date(clock, -50)))
    assert stage.get()["Age"] == "50"
    clock.advance(11)
    assert stage.get().outcome == "MISS"


def test_where_an_answer_comes_from_is_told(stage: Stage, clock: FakeClock) -> None:
    """RFC 9211, 2: hit and ttl; fwd, fwd-status and stored."""
    assert stage.get()["Cache-Status"] == "cache-ext; fwd=uri-miss; fwd-status=200; stored; ttl=60"
    clock.advance(10)
    assert stage.get()["Cache-Status"] == "cache-ext; hit; ttl=50"
    clock.advance(60)
    assert stage.get()["Cache-Status"] == "cache-ext; fwd=uri-miss; fwd-status=200; stored; ttl=60"
    assert stage.send("POST")["Cache-Status"] == "cache-ext; fwd=method"


@pytest.mark.parametrize("said", ["no-store", "private", "max-age=0", "max-age=x", None])
def test_what_is_not_fresh_and_has_no_validator_is_not_kept(stage: Stage, said: str | None) -> None:
    """RFC 9111, 3: there is no default lifetime."""
    stage.script.says(said)
    assert [stage.get().outcome for _ in range(3)] == ["MISS"] * 3
    assert stage.asked == 3


def test_a_guess_can_be_turned_off(open_stage: OpenStage, clock: FakeClock) -> None:
    """RFC 9111, 4.2.2: a cache may guess; without the option it validates instead."""
    outcomes = {}
    for heuristic in (True, False):
        stage = open_stage(heuristic=heuristic)
        stage.script.says(None, ("Last-Modified", date(clock, -1000)))
        stage.get("/")
        clock.advance(50)
        outcomes[heuristic] = stage.get("/").outcome
    assert outcomes == {True: "HIT", False: "MISS"}


def test_the_path_and_the_query_tell_responses_apart(stage: Stage) -> None:
    """RFC 9111, 2: the target URI is the key, the query to the letter."""
    paths = [
        "/",
        "/a",
        "/A",
        "/a/",
        "/a?",
        "/a?b=1",
        "/a?b=2",
        "/a?c=1&b=1",
        "/a?b=1&c=1",
        "/a?b=%31",
        "/a;.css",
    ]
    bodies = [stage.get(path).body for path in paths]
    assert len(set(bodies)) == len(paths) - 1, "an empty query is none, to WSGI"
    assert [stage.get(path).body for path in paths] == bodies


def test_host_and_scheme_tell_responses_apart(stage: Stage) -> None:
    """RFC 9111, 2: as the application sees them."""
    replies = [
        stage.get(),
        stage.get(headers={"Host": "other.example"}),
        stage.get(**{"wsgi.url_scheme": "https"}),
        stage.get(SCRIPT_NAME="/app"),
    ]
    assert len({reply.body for reply in replies}) == 4


def test_head_is_answered_from_a_stored_get(stage: Stage) -> None:
    """RFC 9111, 4: the same fields, no body; asked first, it fetches what later GETs are given."""
    head = stage.send("HEAD")
    get, again = stage.get(), stage.send("HEAD")
    assert (head.body, again.body, get.body) == (b"", b"", b"answer 1")
    assert (head.outcome, get.outcome, again.outcome) == ("MISS", "HIT", "HIT")
    assert [field for field in again.headers if field[0] != "Age"] == [
        field for field in get.headers if field[0] != "Age"
    ]
    assert stage.script.asked[0]["REQUEST_METHOD"] == "GET"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_an_unsafe_method_ends_what_is_stored(stage: Stage, method: str) -> None:
    """RFC 9111, 4.4: of the target, whatever the method."""
    stage.get("/a")
    assert stage.send(method, "/a", body=b"x").outcome == "BYPASS"
    assert stage.get("/a").outcome == "MISS"


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "500 Oh", "503 No"])
def test_an_unsafe_method_that_fails_ends_nothing(stage: Stage, status: str) -> None:
    """RFC 9111, 4.4: only a non-error answer does."""
    stage.get("/a")
    stage.script.status = status
    stage.send("POST", "/a")
    assert stage.get("/a").outcome == "HIT"


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_a_safe_method_ends_nothing(stage: Stage, method: str) -> None:
    """RFC 9110, 9.2.1, and RFC 9111, 4.4."""
    stage.get("/a")
    stage.send(method, "/a")
    assert stage.get("/a").outcome == "HIT"


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize("value", ["/b", "http://example.com/b", "b", "../b"])
def test_what_an_unsafe_answer_leads_to_ends_too(stage: Stage, field: str, value: str) -> None:
    """RFC 9111, 4.4: Location and Content-Location, relative ones too."""
    stage.get("/b")
    stage.script.says("max-age=60", (field, value))
    stage.send("POST", "/a")
    assert stage.get("/b").outcome == "MISS"


@pytest.mark.parametrize(
    "value", ["http://other.example/b", "https://example.com/b", "http://[", "//other.example/b"]
)
def test_nobody_ends_what_is_of_another_origin(stage: Stage, value: str) -> None:
    """RFC 9111, 4.4: a Location that leads elsewhere ends nothing here."""
    stage.get("/b")
    stage.get("/b", headers={"Host": "other.example"})
    stage.script.says("max-age=60", ("Location", value))
    stage.send("POST", "/a")
    assert stage.get("/b").outcome == "HIT"
    assert stage.get("/b", headers={"Host": "other.example"}).outcome == "HIT"


def test_a_client_that_has_the_response_gets_304(stage: Stage) -> None:
    """RFC 9111, 4.3.2, and RFC 9110, 15.4.5: from what is stored, without fields of the body."""
    stage.script.says("max-age=60", ("ETag", '"v1"'), ("X-Other", "1"))
    stage.get()
    reply = stage.get(headers={"If-None-Match": 'W/"v1"'})
    assert (reply.status, reply.body, reply.outcome) == (304, b"", "HIT")
    assert (reply["ETag"], reply["Cache-Control"], reply["Age"]) == ('"v1"', "max-age=60", "0")
    assert reply["Content-Type"] is None
    assert reply["Content-Length"] is None
    assert stage.asked == 1


def test_the_application_does_not_see_the_clients_conditions(stage: Stage) -> None:
    """RFC 9111, 4.3.1: what is to be stored is asked for whole; the client's condition is judged here."""
    stage.script.says("max-age=60", ("ETag", '"v1"'))
    conditions = {"If-None-Match": '"v1"', "If-Modified-Since": "x"}
    reply = stage.get(headers=conditions)
    assert reply.status == 304
    seen = stage.script.asked[0]
    assert not any(name in seen for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"))
    assert stage.get().body == b"answer 1"


def test_a_condition_on_what_is_not_stored_is_judged_too(stage: Stage) -> None:
    """RFC 9110, 13.1.2: the application was asked without it, so it is judged here."""
    stage.script.says("no-store", ("ETag", '"v1"'))
    reply = stage.get(headers={"If-None-Match": '"v1"'})
    assert (reply.status, reply.body) == (304, b"")


def test_a_response_without_etag_is_given_one(stage: Stage) -> None:
    """A strong one of its bytes (RFC 9110, 8.8.3); the application is not asked for it."""
    tag = stage.get()["ETag"]
    assert tag is not None
    assert stage.get(headers={"If-None-Match": tag}).status == 304
    stage.get(headers={"Cache-Control": "no-cache"})
    assert "HTTP_IF_NONE_MATCH" not in stage.script.asked[1]


def test_ranges_are_cut_from_what_is_stored(stage: Stage) -> None:
    """RFC 9110, 14.2: 206, 416, If-Range."""
    stage.script.says("max-age=60", ("ETag", '"v1"'), body=b"0123456789")
    stage.get()
    first = stage.get(headers={"Range": "bytes=2-4"})
    assert (first.status, first.body, first["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert first["Content-Length"] == "3"
    assert stage.get(headers={"Range": "bytes=-2"}).body == b"89"
    assert stage.get(headers={"Range": "bytes=2-4", "If-Range": '"v1"'}).status == 206
    assert stage.get(headers={"Range": "bytes=2-4", "If-Range": '"v2"'}).body == b"0123456789"
    beyond = stage.get(headers={"Range": "bytes=10-"})
    assert (beyond.status, beyond["Content-Range"]) == (416, "bytes */10")
    assert stage.send("HEAD", headers={"Range": "bytes=2-4"}).status == 200
    assert stage.asked == 1


def test_several_ranges_at_once_are_answered_with_the_whole(stage: Stage) -> None:
    """RFC 9110, 14.2: a server may ignore Range; several parts are sent as the whole."""
    stage.script.says("max-age=60", body=b"0123456789")
    stage.get()
    for wanted in ("bytes=0-1, 4-5", "bytes=0-0,-1", "bytes=" + ",".join(["0-"] * 500)):
        reply = stage.get(headers={"Range": wanted})
        assert (reply.status, reply.body, reply["Content-Range"]) == (200, b"0123456789", None)
    assert stage.asked == 1


def test_a_range_of_what_is_not_stored_is_for_the_application(stage: Stage) -> None:
    """RFC 9111, 3.3: it is passed on as it is, and the part that comes is not stored."""

    def part(environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        start_response(
            "206 Partial Content", [("Cache-Control", "max-age=60"), ("Content-Type", "text/plain")]
        )
        return [environ["HTTP_RANGE"].encode()]

    stage.script.answer = part
    for number in (1, 2):
        reply = stage.get(headers={"Range": "bytes=2-4", "If-Range": '"v1"'})
        assert (reply.status, reply.body, stage.asked) == (206, b"bytes=2-4", number)
    assert stage.script.asked[0]["HTTP_IF_RANGE"] == '"v1"'


def test_text_is_sent_in_the_coding_that_the_client_takes(stage: Stage) -> None:
    """RFC 9110, 8.8.3.3 and 12.5.3: each coding has its own strong ETag, and Vary says why."""
    stage.script.says("max-age=60", ("ETag", '"v1"'), body=TEXT)
    plain = stage.get()
    packed = stage.get(headers={"Accept-Encoding": "gzip"})
    assert (plain.body, gzip.decompress(packed.body)) == (TEXT, TEXT)
    assert (plain["Content-Encoding"], packed["Content-Encoding"]) == (None, "gzip")
    assert (plain["ETag"], packed["ETag"]) == ('"v1"', '"v1-gzip"')
    assert plain["Vary"] == packed["Vary"] == "Accept-Encoding"
    assert stage.get(headers={"Accept-Encoding": "gzip", "If-None-Match": '"v1-gzip"'}).status == 304
    assert stage.get(headers={"Accept-Encoding": "gzip", "If-None-Match": '"v1"'}).status == 200
    assert stage.asked == 1


@pytest.mark.parametrize(
    "header",
    [("Cache-Control", "no-transform"), ("Content-Encoding", "x-own"), ("Content-Type", "image/png")],
)
def test_what_must_or_need_not_be_coded_is_sent_as_it_is(stage: Stage, header: tuple[str, str]) -> None:
    """RFC 9111, 5.2.2.6: no-transform; and what is coded or no text already."""
    stage.script.says("max-age=60", header, body=TEXT)
    reply = stage.get(headers={"Accept-Encoding": "gzip, br"})
    assert reply.body == TEXT
    assert reply["Vary"] is None


def test_vary_keeps_several_responses(stage: Stage) -> None:
    """RFC 9111, 4.1: one for each choice, in whichever order they come; a missing field is a choice."""
    stage.script.says("max-age=60", ("Vary", "Accept-Language, X-Kind"))
    choices = [
        {},
        {"Accept-Language": "de"},
        {"Accept-Language": "en"},
        {"Accept-Language": "de", "X-Kind": "1"},
    ]
    bodies = [stage.get(headers=choice).body for choice in choices]
    assert len(set(bodies)) == 4
    assert [stage.get(headers=choice).body for choice in choices] == bodies
    assert {stage.get(headers=choice).outcome for choice in choices} == {"HIT"}
    assert stage.asked == 4


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("Accept-Language", "de, en;q=0.5", "DE,en;q=0.5"),
        ("X-Kind", "a, b", "a,  b "),
        ("Accept-Encoding", "br, gzip;q=0.50", "gzip;q=0.5 , BR"),
    ],
)
def test_what_means_the_same_selects_the_same(stage: Stage, name: str, one: str, other: str) -> None:
    """RFC 9111, 4.1: white space, and case and order where they mean nothing."""
    stage.script.says("max-age=60", ("Vary", name))
    stage.get(headers={name: one})
    assert stage.get(headers={name: other}).outcome == "HIT"


def test_what_selects_may_change(stage: Stage) -> None:
    """RFC 9111, 4.1: a response is used only for requests that agree in the fields which it names itself."""
    stage.script.says("max-age=60", ("Vary", "X-Kind"))
    stage.get()
    stage.script.says("max-age=60", ("Vary", "X-Kind, X-Other"))
    a, b = {"X-Kind": "k", "X-Other": "a"}, {"X-Kind": "k", "X-Other": "b"}
    assert stage.get(headers=a).body == b"answer 2"
    assert stage.get(headers=b).body == b"answer 3"
    assert stage.get().outcome == "HIT"


def test_variants_end_together(stage: Stage) -> None:
    """RFC 9111, 4.4: an unsafe method ends all responses of its URL."""
    stage.script.says("max-age=60", ("Vary", "X-Kind"))
    for kind in "abc":
        stage.get(headers={"X-Kind": kind})
    stage.send("POST")
    assert {stage.get(headers={"X-Kind": kind}).outcome for kind in "abc"} == {"MISS"}


def test_the_number_of_variants_is_bounded(open_stage: OpenStage) -> None:
    """Whoever sends ever new values fills no memory: beyond the bound answers are passed on."""
    stage = open_stage(max_variants=3)
    stage.script.says("max-age=60", ("Vary", "X-Kind"))
    for kind in range(10):
        assert stage.get(headers={"X-Kind": str(kind)}).status == 200
    outcomes = [stage.get(headers={"X-Kind": str(kind)}).outcome for kind in range(10)]
    assert outcomes == ["HIT"] * 3 + ["MISS"] * 7


def test_a_variant_counts_for_as_long_as_it_lies(open_stage: OpenStage, clock: FakeClock) -> None:
    """However slowly new values come, a URL has no more of them in the store at a time than it may have."""
    stage = open_stage(max_variants=3, validation_window=0)
    stage.script.says("max-age=3600", ("Vary", "X-Kind"))
    for kind in range(10):
        stage.get(headers={"X-Kind": str(kind)})
        clock.advance(300)
    outcomes = [stage.get(headers={"X-Kind": str(kind)}).outcome for kind in range(10)]
    assert outcomes == ["HIT"] * 3 + ["MISS"] * 7
    clock.advance(3600)
    assert [stage.get(headers={"X-Kind": "9"}).outcome for _ in range(2)] == ["MISS", "HIT"]


def test_what_names_too_many_tags_is_not_stored(stage: Stage) -> None:
    """256 names in Surrogate-Key are honoured; of 257 none could be left out."""
    for count, outcome in ((256, "HIT"), (257, "MISS")):
        names = [f"t{number}" for number in range(count)]
        keys = [("Surrogate-Key", " ".join(part)) for part in (names[:100], names[100:])]
        stage.script.says("max-age=60", *keys)
        path = f"/tags{count}"
        assert [stage.get(path).outcome for _ in range(2)] == ["MISS", outcome]
    stage.cache.invalidate_tags("t255")
    assert stage.get("/tags256").outcome == "MISS"


def test_a_stale_response_is_validated(stage: Stage, clock: FakeClock) -> None:
    """RFC 9111, 4.3.1 and 4.3.4: both validators are sent; 304 freshens what is stored, fields and all."""
    changed = date(clock, -1000)
    stage.script.says(
        "max-age=60", ("ETag", '"v1"'), ("Last-Modified", changed), ("X-Old", "1"), ("X-Both", "1")
    )
    stage.get()
    clock.advance(61)
    stage.script.says("max-age=30", ("ETag", '"v1"'), ("X-Both", "2"), status="304 Not Modified")
    reply = stage.get()
    seen = stage.script.asked[1]
    assert (seen["HTTP_IF_NONE_MATCH"], seen["HTTP_IF_MODIFIED_SINCE"]) == ('"v1"', changed)
    assert (reply.status, reply.body, reply["X-Both"], reply["X-Old"]) == (200, b"answer 1", "2", "1")
    assert (reply["Age"], reply["Cache-Control"]) == ("0", "max-age=30")
    assert reply["Cache-Status"] == "cache-ext; fwd=stale; fwd-status=304; stored; ttl=30"
    clock.advance(29)
    assert (stage.get().outcome, stage.get()["X-Both"]) == ("HIT", "2")
    clock.advance(2)
    assert stage.get().body == b"answer 1"
    assert stage.asked == 3


def test_a_validation_may_bring_a_new_response(stage: Stage, clock: FakeClock) -> None:
    """RFC 9111, 4.3.3: a whole response replaces what was stored."""
    stage.script.says("max-age=60", ("ETag", '"v1"'))
    stage.get()
    clock.advance(61)
    stage.script.says("max-age=60", ("ETag", '"v2"'))
    assert stage.get().body == b"answer 2"
    assert (stage.get().body, stage.get()["ETag"]) == (b"answer 2", '"v2"')


def test_a_head_freshens_or_replaces(stage: Stage, clock: FakeClock) -> None:
    """RFC 9111, 4.3.5: it validates as a GET: a 304 freshens what GETs are given, all else replaces it."""
    stage.script.says("max-age=60", ("ETag", '"v1"'), ("X-Both", "1"))
    stage.get()
    clock.advance(61)
    stage.script.says("max-age=30", ("ETag", '"v1"'), ("X-Both", "2"), status="304 Not Modified")
    head = stage.send("HEAD")
    assert (head.status, head.body, head["X-Both"]) == (200, b"", "2")
    fresh = stage.get()
    assert (fresh.outcome, fresh.body, fresh["X-Both"]) == ("HIT", b"answer 1", "2")
    clock.advance(31)
    stage.script.says("max-age=60", ("ETag", '"v2"'), status="200 OK")
    assert stage.send("HEAD")["ETag"] == '"v2"'
    assert (stage.get().outcome, stage.get().body, stage.asked) == ("HIT", b"answer 3", 3)


@pytest.mark.parametrize("tags", [['"v9"'], ['"v1"', '"v9"']])
def test_a_304_about_another_response_is_not_believed(
    stage: Stage, clock: FakeClock, tags: list[str]
) -> None:
    """RFC 9111, 4.3.4: with another validator it freshens nothing; a whole response is asked for."""
    stage.script.says("max-age=60", ("ETag", '"v1"'))
    stage.get()
    clock.advance(61)

    def confused(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        if "HTTP_IF_NONE_MATCH" in environ:
            start_response("304 Not Modified", [("ETag", tag) for tag in tags])
            return []
        start_response("200 OK", [("ETag", '"v9"'), ("Content-Type", "text/plain")])
        return [b"whole"]

    stage.script.answer = confused
    assert (stage.get().status, stage.get().body) == (200, b"whole")


@pytest.mark.parametrize("said", ["no-cache", "max-age=0", "no-cache, max-age=60"])
def test_what_must_be_validated_is_asked_for_each_time(stage: Stage, said: str) -> None:
    """RFC 9111, 5.2.2.4: never reused without the application, whose 304 is enough."""
    stage.script.says(said, ("ETag", '"v1"'))
    stage.get()
    stage.script.says(said, ("ETag", '"v1"'), status="304 Not Modified")
    replies = [stage.get() for _ in range(3)]
    assert [(reply.status, reply.body) for reply in replies] == [(200, b"answer 1")] * 3
    assert stage.asked == 4


def test_fields_that_must_be_validated_are_left_out(stage: Stage) -> None:
    """RFC 9111, 5.2.2.4: the asker gets them, who is served from store does not."""
    stage.script.says('max-age=60, no-cache="X-Mine, Set-Cookie"', ("X-Mine", "1"), ("Set-Cookie", "a=b"))
    first, second = stage.get(), stage.get()
    assert (first["X-Mine"], first["Set-Cookie"]) == ("1", "a=b")
    assert (second.outcome, second["X-Mine"], second["Set-Cookie"]) == ("HIT", None, None)


@pytest.mark.parametrize(
    "headers", [{"Cache-Control": "no-cache"}, {"Cache-Control": "max-age=0"}, {"Pragma": "no-cache"}]
)
def test_a_client_can_have_a_response_validated(stage: Stage, headers: dict[str, str]) -> None:
    """RFC 9111, 5.2.1.4 and 5.4: what comes is stored, for the others too."""
    stage.get()
    assert stage.get(headers=headers).body == b"answer 2"
    assert (stage.get().body, stage.get().outcome) == (b"answer 2", "HIT")


def test_what_may_not_be_stored_any_more_replaces_what_was(stage: Stage) -> None:
    """RFC 9111, 4.3.3: a new answer that is not stored leaves nothing old behind."""
    stage.get()
    stage.script.says("no-store")
    assert stage.get(headers={"Cache-Control": "no-cache"}).body == b"answer 2"
    assert stage.get().body == b"answer 3"
    (told,) = stage.cache.runtime.memory.invalidations.recent()
    assert (told.what, told.reason) == ("keys", REPLACED)


def test_only_if_cached(stage: Stage) -> None:
    """RFC 9111, 5.2.1.7: 504 if there is nothing, and the application is not asked."""
    wish = {"Cache-Control": "only-if-cached"}
    assert stage.get(headers=wish).status == 504
    assert stage.asked == 0
    stage.get()
    assert stage.get(headers=wish).outcome == "HIT"


def test_an_exchange_of_which_nothing_is_to_be_kept(stage: Stage) -> None:
    """RFC 9111, 5.2.1.5: no-store in a request stores nothing, and uses what is there."""
    wish = {"Cache-Control": "no-store"}
    assert stage.get(headers=wish).body == b"answer 1"
    assert stage.get().outcome == "MISS"
    assert stage.get(headers=wish).outcome == "HIT"


def test_stale_for_who_takes_it(stage: Stage, clock: FakeClock) -> None:
    """RFC 9111, 5.2.1.2 and 4.2.4: max-stale, marked; never past must-revalidate."""
    wish = {"Cache-Control": "max-stale=100"}
    for said, outcome in (("max-age=60", "STALE"), ("max-age=60, must-revalidate", "MISS")):
        stage.script.says(said, ("ETag", '"v"'))
        stage.get(f"/{outcome}")
        clock.advance(70)
        reply = stage.get(f"/{outcome}", headers=wish)
        assert reply.outcome == outcome
    assert stage.asked == 3


def test_stale_while_revalidate(stage: Stage, clock: FakeClock) -> None:
    """RFC 5861, 3: served at once, marked, while one run in the background brings a new one."""
    stage.script.says("max-age=60, stale-while-revalidate=30")
    stage.get()
    clock.advance(70)
    reply = stage.get()
    assert (reply.body, reply.outcome, reply["Age"]) == (b"answer 1", "STALE", "70")
    assert reply["Cache-Status"] == "cache-ext; hit; ttl=-10"
    until(lambda: stage.get().body == b"answer 2", "it was refreshed")
    assert stage.get().outcome == "HIT"
    assert stage.asked == 2
    clock.advance(91)
    assert (stage.get().outcome, stage.asked) == ("MISS", 3)


@pytest.mark.parametrize("status", ["500 Oh", "502 No", "503 No", "504 No"])
def test_stale_if_error(stage: Stage, clock: FakeClock, status: str) -> None:
    """RFC 5861, 4: on a server's error, for as long as the response says, marked."""
    stage.script.says("max-age=60, stale-if-error=30")
    stage.get()
    clock.advance(70)
    stage.script.status = status
    reply = stage.get()
    assert (reply.status, reply.body, reply.outcome) == (200, b"answer 1", "STALE")
    assert "fwd=stale" in (reply["Cache-Status"] or "")
    clock.advance(21)
    assert stage.get().status == int(status[:3])


def test_stale_if_the_application_raises(stage: Stage, clock: FakeClock) -> None:
    """RFC 5861, 4: an exception is an error too; without anything stored it is raised as it is."""

    def broken(environ: dict[str, object], start_response: object) -> list[bytes]:
        raise ZeroDivisionError("a bug")

    stage.script.says("max-age=60, stale-if-error=30")
    stage.get()
    clock.advance(70)
    stage.script.answer = broken
    assert stage.get().outcome == "STALE"
    with pytest.raises(ZeroDivisionError, match="a bug"):
        stage.get("/other")


@pytest.mark.parametrize("said", ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"])
def test_never_stale_past_a_prohibition(stage: Stage, clock: FakeClock, said: str) -> None:
    """RFC 9111, 4.2.4, 5.2.2.2, 5.2.2.8 and 5.2.2.10: whatever RFC 5861 would allow."""
    stage.script.says(f"max-age=60, stale-if-error=300, stale-while-revalidate=300, {said}", ("ETag", '"v"'))
    stage.get()
    clock.advance(70)
    stage.script.status = "500 Oh"
    assert stage.get().status == 500
    assert stage.get(headers={"Cache-Control": "stale-if-error=300"}).status == 500


def test_never_stale_past_an_invalidation_while_the_application_fails(stage: Stage, clock: FakeClock) -> None:
    """What is invalidated while one waits for an answer that is an error does not serve instead."""
    stage.script.says("max-age=60, stale-if-error=300", ("Surrogate-Key", "things"))
    stage.get()
    clock.advance(70)

    def failing(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        stage.cache.invalidate_tags("things")
        start_response("500 Oh", [("Content-Type", "text/plain")])
        return [b"oh"]

    stage.script.answer = failing
    assert stage.get().status == 500


def test_never_stale_past_an_invalidation(stage: Stage, clock: FakeClock) -> None:
    """What was invalidated serves nobody, however wrong things are."""
    stage.script.says("max-age=60, stale-if-error=300", ("Surrogate-Key", "things"))
    stage.get()
    clock.advance(70)
    stage.cache.invalidate_tags("things")
    stage.script.status = "500 Oh"
    assert stage.get().status == 500


def test_a_client_can_refuse_what_is_stale(stage: Stage, clock: FakeClock) -> None:
    """RFC 5861, 4: stale-if-error in a request decides for that request."""
    stage.script.says("max-age=60, stale-if-error=300")
    stage.get()
    clock.advance(70)
    stage.script.status = "503 No"
    assert stage.get(headers={"Cache-Control": "stale-if-error=0"}).status == 503
    assert stage.get().outcome == "STALE"


def test_surrogate_keys_are_tags(stage: Stage) -> None:
    """What a response names in Surrogate-Key ends it, and stays out of what clients get."""
    stage.script.says("max-age=60", ("Surrogate-Key", "a b"), ("surrogate-key", "c"))
    for tag in "abc":
        assert stage.get()["Surrogate-Key"] is None
        assert stage.get().outcome == "HIT"
        stage.cache.invalidate_tags(tag)
        assert stage.get().outcome == "MISS"


def test_what_the_application_read_ends_the_response(stage: Stage) -> None:
    """Tags and lifetimes of values that the application got from the cache are those of its answer."""

    def reading(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        value = stage.cache.get_or_load("value", lambda: len(stage.script.asked), ttl=5, tags=["t"])
        start_response("200 OK", [("Cache-Control", "max-age=60"), ("Content-Type", "text/plain")])
        return [b"%d" % value]

    stage.script.answer = reading
    assert [stage.get().body for _ in range(2)] == [b"1", b"1"]
    assert stage.asked == 1
    stage.cache.invalidate_tags("t")
    assert stage.get().body == b"2"
    assert stage.clock is not None
    stage.clock.advance(5)
    assert stage.get().body == b"3"


def test_authorization_is_not_shared(stage: Stage) -> None:
    """RFC 9111, 3.5: neither stored for others, nor answered with what is stored, unless it is for all."""
    who = {"Authorization": "Basic a"}
    assert stage.get(headers=who).body == b"answer 1"
    assert stage.get().body == b"answer 2"
    assert stage.get(headers=who).body == b"answer 3"
    assert stage.get().body == b"answer 2"
    stage.script.says("public, max-age=60")
    assert [stage.get("/p", headers=who).body, stage.get("/p").body] == [b"answer 4"] * 2


def test_a_get_with_a_body_is_not_shared(stage: Stage) -> None:
    """RFC 9110, 9.3.1: a body may have decided what is answered, which nothing of the key shows."""
    fat = stage.send("GET", "/", body=b"poison")
    assert (fat.outcome, fat.body) == ("BYPASS", b"answer 1")
    assert stage.get().body == b"answer 2"
    assert stage.send("GET", "/", body=b"poison").body == b"answer 3"


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Prefix",
        "Forwarded",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Host",
    ],
)
def test_fields_that_poison_do_not_reach_what_is_stored(stage: Stage, name: str) -> None:
    """What is no part of the key cannot change a response that others get."""

    def echo(environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [("Cache-Control", "max-age=60"), ("Content-Type", "text/plain")])
        return [environ.get("HTTP_" + name.upper().replace("-", "_"), "-").encode()]

    stage.script.answer = echo
    assert stage.get(headers={name: "evil"}).body == b"-"
    assert stage.get().body == b"-"


def test_nobody_waits_for_what_a_response_is_made_of(stage: Stage, clock: FakeClock) -> None:
    """A response is made anew when the first of its parts is due, and again until it has the new part."""
    loads: list[float] = []

    def load() -> int:
        loads.append(clock.monotonic())
        if len(loads) == 1:
            clock.advance(1)  # so long it takes
        return len(loads)

    def part() -> int:
        return stage.cache.get_or_load("part", load, ttl=10, tags=["t"])

    def reading(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [("Cache-Control", "max-age=60"), ("Content-Type", "text/plain")])
        return [b"%d" % part()]

    stage.script.answer = reading
    part()
    assert stage.get().outcome == "MISS", "made in no time, of what took a second"
    clock.advance(8)  # a second is left, and no more than 1.2 of what the load took
    assert (stage.get().body, stage.get().outcome) == (b"1", "HIT")
    until(lambda: len(loads) == 2 and not stage.cache.runtime.flights._open, "the part is refreshed")
    asked = stage.asked
    for _ in range(5):
        assert stage.get().outcome == "HIT"
        until(lambda: not stage.cache.runtime.flights._open, "nothing is being made")
    assert stage.asked == asked, "not made anew at each request"
    clock.advance(0.6)
    until(lambda: stage.get().body == b"2", "it is made of the new part")
    assert stage.get().outcome == "HIT"
    clock.advance(5)
    assert (stage.get().outcome, stage.get().body) == ("HIT", b"2")
