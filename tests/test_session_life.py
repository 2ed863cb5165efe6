"""A session's life: its ends, its limits in number, its cookie, and who writes it at once with others."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier
from typing import Any

import pytest
import redis
from flask import request, session

from cache_ext.errors import StoreUnavailable
from cache_ext.sessions.cross_site import is_cross_site
from cache_ext.sessions.ids import account_bucket
from cache_ext.sessions.lives import Lives
from tests.caches import PATIENCE, begin
from tests.fault_stage import SteppableServer
from tests.servers import RunningServer
from tests.session_stage import Shop, cookie_of, held_write, session_keys
from tests.waiting import until

BEHIND = [
    {"REMOTE_ADDR": "203.0.113.7"},
    {"REMOTE_ADDR": ""},
    {"wsgi.url_scheme": "https"},
    {"HTTP_HOST": "shop.example"},
    {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
    {"HTTP_X_FORWARDED_PROTO": "http"},
    {"HTTP_FORWARDED": "for=127.0.0.1"},
    {"HTTP_VIA": "1.1 proxy"},
]


@pytest.mark.parametrize("environ", BEHIND, ids=str)
def test_the_cookie_is_guarded(shop: Shop, environ: dict[str, str]) -> None:
    """Whatever is not a direct request of this very host gets a __Host- cookie, Secure, HttpOnly, Lax."""
    cookie = shop.client().get("/set/a/b", environ_overrides=environ).headers["Set-Cookie"]
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-session=")
    assert set(attributes) == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_developers_cookie_is_plain(shop: Shop, host: str, address: str) -> None:
    """A direct request over loopback, without TLS, gets a cookie that browsers take from there."""
    environ = {"REMOTE_ADDR": address, "HTTP_HOST": host}
    name, *attributes = (
        shop.client().get("/set/a/b", environ_overrides=environ).headers["Set-Cookie"].split("; ")
    )
    assert name.startswith("session=")
    assert set(attributes) == {"HttpOnly", "Path=/", "SameSite=Lax"}


def test_a_cookie_behind_proxies_is_always_guarded(make_shop: Callable[..., Shop]) -> None:
    """Where proxies are configured, nothing passes for direct."""
    shop = make_shop(behind_proxies=True)
    assert shop.client().get("/set/a/b").headers["Set-Cookie"].startswith("__Host-session=")


def test_a_plain_cookie_counts_for_direct_requests_only(shop: Shop) -> None:
    """Nobody plants a cookie without the prefix that only this host can set."""
    client = shop.signed_in(7)
    sid = cookie_of(client)
    other = shop.app.test_client(use_cookies=False)
    assert other.get("/who", headers={"Cookie": f"session={sid}"}).json == 7
    for environ in BEHIND:
        assert other.get("/who", headers={"Cookie": f"session={sid}"}, environ_overrides=environ).json is None
        answer = other.get("/who", headers={"Cookie": f"__Host-session={sid}"}, environ_overrides=environ)
        assert answer.json == 7


def test_a_cookie_for_a_domain_has_the_prefix_that_it_can_have(shop: Shop) -> None:
    """__Host- forbids Domain; __Secure- is what is left."""
    shop.app.config["SESSION_COOKIE_DOMAIN"] = "shop.example"
    cookie = (
        shop.client().get("/set/a/b", environ_overrides={"HTTP_HOST": "shop.example"}).headers["Set-Cookie"]
    )
    assert cookie.startswith("__Secure-session=")
    assert "Domain=shop.example" in cookie


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "nonsense"}, True),
        ({"Origin": "https://shop.example"}, False),
        ({"Origin": "https://SHOP.example:443"}, False),
        ({"Origin": "http://shop.example"}, True),
        ({"Origin": "https://shop.example:8443"}, True),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "https://shop.example.evil.example"}, True),
        ({"Origin": "https://evil.example/shop.example"}, True),
        ({"Origin": "https://shop.example@evil.example"}, True),
        ({"Origin": "https://evil.example@shop.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": ""}, True),
        ({"Origin": "https://[bad"}, True),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}, True),
    ],
)
def test_who_is_another_site(shop: Shop, headers: dict[str, str], expected: bool) -> None:
    """By Sec-Fetch-Site, by Origin; what has neither is no browser; safe methods change nothing."""
    with shop.app.test_request_context(
        base_url="https://shop.example", method="POST", headers=headers
    ) as found:
        assert is_cross_site(found.request.environ) is expected
        for method in ("GET", "HEAD", "OPTIONS"):
            assert not is_cross_site({**found.request.environ, "REQUEST_METHOD": method})


def test_the_sixth_session_ends_the_oldest(shop: Shop) -> None:
    """An account has five; those of others do not count."""
    clients = [shop.signed_in(7) for _ in range(5)]
    other = shop.signed_in(8)
    assert [client.get("/who").json for client in clients] == [7] * 5
    sixth = shop.signed_in(7)
    assert [client.get("/who").json for client in clients] == [None, 7, 7, 7, 7]
    assert sixth.get("/who").json == 7
    assert other.get("/who").json == 8
    assert len(shop.sessions.list(7)) == 5
    clients[1].post("/out")
    shop.signed_in(7)
    assert clients[2].get("/who").json == 7


def test_logging_in_again_is_no_further_session(shop: Shop) -> None:
    """The old one of that browser ends."""
    client, others = shop.signed_in(7), [shop.signed_in(7) for _ in range(4)]
    for _ in range(3):
        client.post("/in/7")
    assert [each.get("/who").json for each in others] == [7] * 4
    assert len(shop.sessions.list(7)) == 5


def test_sessions_are_listed_and_revoked(shop: Shop) -> None:
    """With device and address, oldest first; one, all others, all; nobody ends another's."""
    clients = []
    for number in range(3):
        clients.append(shop.client())
        clients[-1].post(
            "/in/7",
            headers={"User-Agent": f"browser {number}"},
            environ_overrides={"REMOTE_ADDR": f"127.0.0.{number}"},
        )
    listed = shop.sessions.list(7)
    assert [(each.device, each.address) for each in listed] == [
        (f"browser {number}", f"127.0.0.{number}") for number in range(3)
    ]
    assert all(each.created <= each.seen < each.ends for each in listed)
    assert not shop.sessions.revoke(8, listed[0].id)
    assert clients[0].get("/who").json == 7
    assert shop.sessions.revoke(7, listed[0].id)
    assert not shop.sessions.revoke(7, listed[0].id)
    assert [each.get("/who").json for each in clients] == [None, 7, 7]
    assert shop.sessions.revoke_all(7, but=listed[2].id) == 1
    assert [each.get("/who").json for each in clients] == [None, None, 7]
    assert shop.sessions.revoke_all(7) == 1
    assert [each.get("/who").json for each in clients] == [None, None, None]
    assert shop.sessions.list(7) == []


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_session_ends_when_it_is_not_used(steppable_redis_server: SteppableServer, namespace: str) -> None:
    """Each use lets it live for the idle time again; by the clock of Redis, which here is set."""
    server = steppable_redis_server
    shop = Shop(server.url, namespace, ttl=1000.0, idle=100.0)
    try:
        client = shop.signed_in(7)
        for offset in (80, 160, 240):
            server.step_clock(offset)
            assert client.get("/who").json == 7
        assert shop.sessions.list(7)[0].seen > shop.sessions.list(7)[0].created + 200
        server.step_clock(250)  # so soon after that it is not noted, and yet it counts
        assert client.get("/who").json == 7
        server.step_clock(345)
        assert client.get("/who").json == 7
        server.step_clock(450)
        assert client.get("/who").json is None
        assert session_keys(server.url) == []
    finally:
        shop.close()


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_session_ends_however_much_it_is_used(
    steppable_redis_server: SteppableServer, namespace: str
) -> None:
    """The absolute time counts from signing in; a new id or a write does not prolong it."""
    server = steppable_redis_server
    shop = Shop(server.url, namespace, ttl=250.0, idle=100.0)
    try:
        client = shop.signed_in(7)
        for offset in (80, 160, 240):
            server.step_clock(offset)
            assert client.get("/set/a/b").status_code == 200
            assert client.get("/who").json == 7
        server.step_clock(255)
        assert client.get("/who").json is None
        assert client.get("/get").json == {}
    finally:
        shop.close()


def race(shop: Shop, *paths: str) -> list[Any]:
    """Have a session's requests read it all before any of them writes it; return their answers."""
    client = shop.signed_in(7)
    client.get("/set/base/0")
    sid, gate = cookie_of(client), Barrier(len(paths))
    writer = shop.sessions._writer
    put = writer._put

    def together(mine: Any, changes: Any) -> Any:
        gate.wait(PATIENCE)
        return put(mine, changes)

    writer._put = together

    def ask(path: str) -> Any:
        browser = shop.client()
        browser.set_cookie("session", sid)
        return browser.get(path)

    asked = [begin(lambda path=path: ask(path)) for path in paths]
    answers = [each.result(PATIENCE) for each in asked]
    writer._put = put
    answers.append(client.get("/get"))
    return answers


def test_requests_at_once_do_not_lose_each_others_writes(shop: Shop) -> None:
    """All have read the session before any wrote it; what each changed is there in the end."""
    *_, last = race(shop, "/set/a/1", "/set/b/2", "/set/c/3", "/set/d/4", "/set/base/5")
    assert last.json == {"base": "5", "a": "1", "b": "2", "c": "3", "d": "4"}


def test_what_one_takes_away_another_does_not_bring_back(shop: Shop) -> None:
    """A writer who still had it in his copy brings his own change only."""
    shop.app.add_url_rule("/pop/<key>", view_func=lambda key: {key: session.pop(key)}, endpoint="pop")
    *_, last = race(shop, "/pop/base", "/set/a/1")
    assert last.json == {"a": "1"}


def test_a_write_does_not_bring_a_revoked_session_back(shop: Shop, redis_url: str) -> None:
    """It was read before it was revoked and written after: it stays dead, and the client is told no id."""
    client = shop.signed_in(7)
    answer = held_write(shop, client, lambda: shop.sessions.revoke_all(7))
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert session_keys(redis_url) == []
    assert client.get("/who").json is None


def test_a_late_write_does_not_undo_a_login(shop: Shop) -> None:
    """A request that began before the login ends after it: the browser keeps the login's cookie."""
    client = shop.client()
    client.get("/set/a/1")
    old, browser = cookie_of(client), shop.client()
    browser.set_cookie("session", old)
    answer = held_write(shop, browser, lambda: client.post("/in/7"))
    assert "Set-Cookie" not in answer.headers
    assert client.get("/who").json == 7
    assert "late" not in client.get("/get").json


def neighbour(account: int) -> int:
    """Return another account whose sessions lie in the same bucket."""
    others = (number for number in range(1000, 2000) if account_bucket(number) == account_bucket(account))
    return next(others)


def test_nobody_sees_or_ends_the_sessions_of_a_neighbour(shop: Shop, redis_url: str) -> None:
    """Two accounts of one bucket, and even a name of one in the list of the other: each has his own."""
    mine, theirs = shop.signed_in(7), shop.signed_in(neighbour(7))
    (name,) = (each.id for each in shop.sessions.list(neighbour(7)))
    assert not shop.sessions.revoke(7, name)
    with redis.Redis.from_url(redis_url) as client:
        (index,) = (key for key in client.scan_iter() if key.endswith(b":x:sessions:7"))
        client.rpush(index, name)
    assert name not in [each.id for each in shop.sessions.list(7)]
    assert not shop.sessions.revoke(7, name)
    assert theirs.get("/who").json == neighbour(7)
    assert mine.get("/who").json == 7


def test_a_session_that_could_not_be_read_is_not_written(shop: Shop, redis_url: str) -> None:
    """Redis was away when the request began and is back at its end: what was there stays as it was."""

    @shop.app.get("/blind")
    def blind() -> str:
        shop.sessions.reader.note(request.environ, None, StoreUnavailable("just then"))
        session["a"] = "lost"
        return "served"

    client = shop.client()
    client.get("/set/a/kept")
    sid = cookie_of(client)
    answer = client.get("/blind")
    assert (answer.text, cookie_of(client)) == ("served", sid)
    assert "Set-Cookie" not in answer.headers
    assert client.get("/get").json == {"a": "kept"}
    assert len(session_keys(redis_url)) == 1


def test_a_session_gets_a_new_id_when_its_application_says_so(shop: Shop, redis_url: str) -> None:
    """Flask-Session's `regenerate`: same content, new id, the old one dead; no further session."""
    shop.app.add_url_rule(
        "/renew",
        view_func=lambda: shop.app.session_interface.regenerate(session._get_current_object()) or "new",
        endpoint="renew",
    )
    for client in (shop.signed_in(7), shop.client()):
        client.get("/set/a/1")
        before, count = cookie_of(client), len(session_keys(redis_url))
        client.get("/renew")
        assert cookie_of(client) != before
        assert client.get("/get").json == {"a": "1"}
        assert len(session_keys(redis_url)) == count
        client.set_cookie("session", before)
        assert client.get("/get").json == {}


@pytest.mark.parametrize("fault", [RunningServer.kill, RunningServer.pause])
def test_without_redis_a_session_reads_as_nobodys(
    own_redis_server: RunningServer, namespace: str, fault: Callable[[RunningServer], None]
) -> None:
    """Nothing fails or stalls, login says that it cannot, and all is well when Redis is back."""
    server = own_redis_server
    shop = Shop(server.url, namespace, settings={"op_timeout": 0.2})
    shop.app.register_error_handler(StoreUnavailable, lambda error: ("away", 503))
    try:
        client = shop.signed_in(7)
        fault(server)
        assert client.get("/who").json is None
        assert client.get("/get").json == {}
        for answer in (client.get("/set/a/b"), client.get("/plain")):
            assert answer.status_code == 200
            assert "Set-Cookie" not in answer.headers
        assert client.post("/in/7").status_code == 503
        assert client.post("/out").status_code == 503
        until(
            lambda: client.get("/who").status_code == 200 and shop.cache.gateway.breaker.state != "closed",
            "open",
        )
        shop.commands.clear()
        if fault is RunningServer.pause:
            server.resume()
            until(lambda: client.get("/who").json == 7, "the session is back")
        else:
            server.start()
            until(lambda: client.post("/in/7").status_code == 200, "login works")
        assert client.get("/who").json == 7
    finally:
        shop.close()


def test_a_session_is_asked_for_once_while_redis_is_away(
    own_redis_server: RunningServer, namespace: str
) -> None:
    """The gate has waited for it: Flask does not wait again."""
    shop = Shop(own_redis_server.url, namespace)

    @shop.app.get("/both")
    def both() -> Any:
        shop.sessions.reader.read(request.environ)
        return dict(session)

    try:
        client = shop.signed_in(7)
        own_redis_server.kill()
        shop.commands.clear()
        assert client.get("/both").json == {}
        assert len(shop.commands) == 1
    finally:
        shop.close()


def test_every_command_of_sessions_is_within_one_slot(shop: Shop, redis_url: str) -> None:
    """Keys that a command names, and those that its script makes of the list, share a hash tag."""
    client = shop.signed_in(7)
    client.get("/set/a/b")
    for _ in range(6):
        shop.signed_in(7)
    shop.sessions.list(7)
    shop.sessions.revoke_all(7)
    scripts = [command for commands in shop.commands for command in commands if command[0] == "EVALSHA"]
    assert len(scripts) > 10
    for command in scripts:
        keys = [str(word) for word in command[3:] if str(word).startswith(shop.cache.settings.namespace)]
        assert len({key.partition("{")[2].partition("}")[0] for key in keys}) == 1


def test_it_is_noted_now_and_then_that_a_session_was_seen() -> None:
    """Not at each request: at most once a minute, and often enough for the idle time."""
    assert Lives(86_400.0, 86_400.0, 5).note_after == 60.0
    assert Lives(80.0, 80.0, 5).note_after == 10.0


def test_nothing_of_sessions_stays_in_redis_for_ever(shop: Shop, redis_url: str) -> None:
    """Every key has a time to live."""
    shop.signed_in(7)
    shop.client().get("/set/a/b")
    with redis.Redis.from_url(redis_url) as client:
        keys = [key for key in client.scan_iter() if b":x:session" in key]
        assert len(keys) >= 4
        assert all(0 < client.ttl(key) <= 86_400 for key in keys)
