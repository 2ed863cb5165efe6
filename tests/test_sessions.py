"""Sessions on real servers: late, sealed, stored if changed, and Flask's own behaviour in all else."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from flask import flash, get_flashed_messages, request, session
from flask_session.base import ServerSideSession
from flask_session.redis.redis import RedisSessionInterface
from markupsafe import Markup

from cache_ext import metrics
from cache_ext.errors import ConfigurationError, UnsupportedValue
from cache_ext.sessions.session import LOOKS_INTO, SafeSession
from tests.caches import PATIENCE, begin, connected, stop_before
from tests.session_stage import Shop, cookie_of, session_keys
from tests.waiting import until


def test_what_one_process_stores_another_reads(make_shop: Callable[..., Shop]) -> None:
    """The session is in Redis, not in a process."""
    one, other = make_shop(), make_shop()
    client, elsewhere = one.client(), other.client()
    client.get("/set/fruit/apple")
    elsewhere.set_cookie("session", cookie_of(client))
    assert elsewhere.get("/get").json == {"fruit": "apple"}


def test_it_is_the_interface_of_flask_session(shop: Shop) -> None:
    """Who knows Flask-Session finds what he knows; its own ways to Redis are closed."""
    interface = shop.app.session_interface
    assert isinstance(interface, RedisSessionInterface)
    assert not hasattr(interface, "client")
    assert not hasattr(interface, "serializer") or interface.serializer is None
    for closed in ("_retrieve_session_data", "_delete_session"):
        with pytest.raises(NotImplementedError):
            getattr(interface, closed)("session:1")
    with shop.app.test_request_context():
        assert isinstance(session._get_current_object(), ServerSideSession)


def test_an_untouched_session_costs_no_trip_and_no_vary(shop: Shop) -> None:
    """Nobody looks into it: no command, no Vary, no cookie, though the request brought one."""
    client = shop.signed_in()
    shop.commands.clear()
    answer = client.get("/plain")
    assert shop.commands == []
    assert "Vary" not in answer.headers
    assert "Set-Cookie" not in answer.headers


def test_a_session_is_read_once_in_a_request(shop: Shop) -> None:
    """The gate before Flask and Flask itself share what was read."""

    @shop.app.before_request
    def gate() -> None:
        shop.sessions.reader.read(request.environ)

    client = shop.signed_in()
    shop.commands.clear()
    answer = client.get("/get")
    assert len(shop.commands) == 1
    assert answer.headers["Vary"] == "Cookie"


def test_sessions_that_are_read_at_once_share_a_round_trip(shop: Shop) -> None:
    """Who comes while one reads goes with the next; each gets his own, and the same session is read once."""
    clients = [shop.signed_in(account) for account in range(1, 5)]
    clients.append(again := shop.client())
    again.set_cookie("session", cookie_of(clients[3]))
    connected(shop.cache)  # what the backplane asks when it connects would stop instead
    shop.commands.clear()
    stop = stop_before(shop.cache.gateway, "run")
    first = begin(lambda: clients[0].get("/who").json)
    stop.wait()
    others = [begin(lambda client=client: client.get("/who").json) for client in clients[1:]]
    until(lambda: len(shop.sessions.store._trips._waiting) == 4, "they wait for the next trip")
    stop.go()
    assert [each.result(PATIENCE) for each in (first, *others)] == [1, 2, 3, 4, 4]
    assert [len(commands) for commands in shop.commands] == [1, 3]


def test_a_session_is_written_only_if_it_was_changed(shop: Shop) -> None:
    """Reading, and giving it what it has, leave what is stored as it is."""
    client = shop.client()
    client.get("/set/fruit/apple")
    shop.commands.clear()
    answer = client.get("/get")
    assert len(shop.commands) == 1
    assert "Set-Cookie" not in answer.headers


def test_a_request_without_session_stores_none(shop: Shop, redis_url: str) -> None:
    """Looking into an empty session makes no session."""
    answer = shop.client().get("/get")
    assert answer.json == {}
    assert "Set-Cookie" not in answer.headers
    assert session_keys(redis_url) == []
    assert shop.commands == []


SPECIAL = {
    "tuple": (1, "two", (3,)),
    "bytes": b"\x00\xff",
    "markup": Markup("<b>bold</b>"),
    "uuid": uuid.UUID(int=7),
    "datetime": datetime(2026, 11, 23, 4, 5, 6, tzinfo=UTC),
    "nested": {"list": [1, (2, 3)], " t": "looks like a tag"},
    "none": None,
    "number": 1.5,
    "set": {1, 2},
}


def test_special_types_survive(shop: Shop) -> None:
    """All that Flask's tagged JSON keeps comes out with its type and value."""
    client = shop.client()
    with client.session_transaction() as mine:
        mine.update(SPECIAL)
    with client.session_transaction() as mine:
        found = dict(mine)
    assert found == SPECIAL
    assert {key: type(value) for key, value in found.items()} == {key: type(v) for key, v in SPECIAL.items()}


@pytest.mark.parametrize("content", [{"key": object()}, {1: "one"}])
def test_what_cannot_be_kept_is_a_clear_error(shop: Shop, content: dict[Any, Any]) -> None:
    """No value is changed silently, no object is pickled."""

    @shop.app.get("/odd")
    def odd() -> str:
        session.update(content)
        return "stored?"

    with pytest.raises(UnsupportedValue):
        shop.client().get("/odd")


def test_flashed_messages_are_seen_once(shop: Shop) -> None:
    """Flask's own user of the session works."""
    shop.app.add_url_rule("/flash", view_func=lambda: flash("done") or "flashed", endpoint="flash")
    shop.app.add_url_rule("/seen", view_func=get_flashed_messages, endpoint="seen")
    client = shop.client()
    client.get("/flash")
    assert client.get("/seen").json == ["done"]
    assert client.get("/seen").json == []


def test_a_changed_part_of_a_value_is_stored_if_the_session_is_told(shop: Shop) -> None:
    """`modified` is Flask's: set it by hand for what is inside a value."""

    @shop.app.get("/grow/<int:told>")
    def grow(told: int) -> Any:
        session.setdefault("list", []).append(told) if "list" not in session else session["list"].append(told)
        session.modified = bool(told)
        return session["list"]

    client = shop.client()
    client.get("/grow/1")
    client.get("/grow/0")
    assert client.get("/grow/2").json == [1, 2]
    assert client.get("/get").json == {"list": [1, 2]}


def test_an_emptied_session_is_deleted_with_its_cookie(shop: Shop, redis_url: str) -> None:
    """As in Flask, but in Redis too."""
    shop.app.add_url_rule("/pop", view_func=lambda: session.pop("fruit"), endpoint="pop")
    client = shop.client()
    client.get("/set/fruit/apple")
    answer = client.get("/pop")
    assert "session=;" in answer.headers["Set-Cookie"]
    assert session_keys(redis_url) == []
    assert cookie_of(client) is None


def test_a_permanent_session_has_a_cookie_that_lasts(shop: Shop) -> None:
    """`permanent` sets Expires, and the cookie of one that is used is sent again."""

    @shop.app.get("/stay")
    def stay() -> str:
        session.permanent = True
        session["fruit"] = "apple"
        return "stays"

    client = shop.client()
    assert "Expires=" in client.get("/stay").headers["Set-Cookie"]
    assert "Expires=" in client.get("/get").headers["Set-Cookie"]
    shop.app.config["SESSION_REFRESH_EACH_REQUEST"] = False
    assert "Set-Cookie" not in client.get("/get").headers


def test_a_partitioned_cookie_is_partitioned(shop: Shop) -> None:
    """SESSION_COOKIE_PARTITIONED counts, which Flask-Session does not know."""
    shop.app.config["SESSION_COOKIE_PARTITIONED"] = True
    shop.app.config["SESSION_COOKIE_SECURE"] = True
    assert "Partitioned" in shop.client().get("/set/a/b").headers["Set-Cookie"]


@pytest.mark.parametrize("name", LOOKS_INTO)
def test_every_way_to_look_into_a_session_reads_it(name: str) -> None:
    """Whatever a dict can be asked or told, the session is read first."""
    asked: list[str] = []
    mine = SafeSession({}, lambda: asked.append(name), lambda kept: {})
    arguments = {
        "__setitem__": ("a", 1), "__getitem__": ("a",), "__delitem__": ("a",), "__contains__": ("a",),
        "get": ("a",), "pop": ("a", 1), "setdefault": ("a", 1), "update": ({},), "__or__": ({},),
        "__ror__": ({},), "__ior__": ({},), "__eq__": ({},), "__ne__": ({},), "__lt__": ({},),
        "__gt__": ({},), "__le__": ({},), "__ge__": ({},),
    }.get(name, ())  # fmt: skip
    with suppress(KeyError):
        getattr(mine, name)(*arguments)
    assert asked == [name]


def test_no_way_to_look_into_a_dict_is_forgotten() -> None:
    """What dict has and we do not wrap is no way to look into it."""
    others = set(dir(object)) - set(LOOKS_INTO) | {"__class_getitem__", "fromkeys", "clear"}
    assert set(dir(dict)) - set(LOOKS_INTO) - others == set()


def test_a_copy_of_a_session_is_whole(shop: Shop) -> None:
    """Also by the ways in which C copies a dict."""
    shop.app.add_url_rule("/copy", view_func=lambda: {**session._get_current_object()}, endpoint="copy")
    client = shop.client()
    client.get("/set/fruit/apple")
    assert client.get("/copy").json == {"fruit": "apple"}


def test_sessions_need_secret_keys(make_shop: Callable[..., Shop]) -> None:
    """There are no sessions that anyone with Redis could read."""
    with pytest.raises(ConfigurationError):
        make_shop(settings={"secret_keys": ()})


def test_sessions_are_counted(make_shop: Callable[..., Shop]) -> None:
    """The metric tells all sessions of the namespace, whoever made them."""
    one, other = make_shop(), make_shop()
    one.signed_in(1)
    client = other.signed_in(2)
    other.client().get("/set/a/b")
    one.sessions.measure()
    assert metrics.sessions_active._value.get() == 3
    client.post("/out")
    one.sessions.measure()
    assert metrics.sessions_active._value.get() == 2


def test_sessions_that_are_over_are_no_longer_counted(shop: Shop, redis_url: str) -> None:
    """What counts them does not grow with all the sessions that there ever were."""
    shop.signed_in(1)
    with redis.Redis.from_url(redis_url) as client:
        (census,) = [key for key in client.scan_iter() if client.type(key) == b"zset" and b"session" in key]
        client.zadd(census, {f"over {number}": number for number in range(1000)})
        shop.sessions.measure()
        assert metrics.sessions_active._value.get() == 1
        assert client.zcard(census) == 1
