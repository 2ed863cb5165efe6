"""``/api/auth``: people log in, see their sessions and end them; nobody else does it in their name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_ext import metrics
from cache_ext.testing import FakeClock
from shivx.identity import Tier
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for
from tests.servers import RunningServer
from tests.session_stage import cookie_of, session_keys
from tests.waiting import until

PASSWORD = "correct horse battery"
ME = "/api/auth/me"
SESSIONS = "/api/auth/sessions"
CROSS = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}


@pytest.fixture
def site(clock: FakeClock, redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Site]:
    """The application with the account alice, on a real Redis."""
    settings = settings_for(redis_url, cache_namespace=namespace, instance_dir=tmp_path)
    with open_site(settings, ScriptedExchange(clock)) as opened:
        opened.services.access.accounts.create("alice", Tier.PREMIUM, PASSWORD)
        yield opened


def log_in(site: Site, name: str = "alice", client: Any = None, **options: Any) -> Any:
    """Return a browser that is logged in."""
    client = client or site.client
    answer = client.post("/api/auth/login", json={"username": name, "password": PASSWORD}, **options)
    assert answer.status_code == 200, answer.text
    return client


def status(client: Any, path: str = ME) -> int:
    """Return the status of a GET."""
    return client.get(path).status_code


def code_of(answer: Any) -> tuple[int, str]:
    """Return status and code of a problem."""
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, answer.json["code"]


def test_login_me_logout(site: Site, redis_url: str) -> None:
    """The way of a session from its begin to its end."""
    client = site.client
    assert code_of(client.get(ME)) == (401, "unauthenticated")
    answer = client.post("/api/auth/login", json={"username": "alice", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json == {"account": 1, "username": "alice", "tier": "premium"}
    me = client.get(ME)
    assert me.json | {"scopes": []} == {
        "account": 1, "username": "alice", "tier": "premium", "scopes": [], "via": "session",
    }  # fmt: skip
    sid = cookie_of(client)
    assert client.post("/api/auth/logout").status_code == 204
    assert cookie_of(client) is None
    assert session_keys(redis_url) == []
    client.set_cookie("session", sid)
    assert status(client) == 401
    assert client.post("/api/auth/logout").status_code == 204


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong"), ("bob", PASSWORD), ("", ""), ("alice", "")]
)
def test_a_wrong_login_says_no_more_than_that(site: Site, name: str, password: str) -> None:
    """Unknown name and wrong password get the same answer, and no cookie."""
    answer = site.client.post("/api/auth/login", json={"username": name, "password": password})
    assert code_of(answer) == (401, "unauthenticated")
    assert answer.json["detail"] == "Name or password is wrong."
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"data": "username=alice", "content_type": "application/x-www-form-urlencoded"}, 415),
        ({"data": "{}", "content_type": "text/plain"}, 415),
        ({"data": "{", "content_type": "application/json"}, 400),
        ({"json": {"username": "alice"}}, 400),
        ({"json": {"username": 1, "password": []}}, 400),
        ({"json": {"username": "alice", "password": "x" * 2000}}, 400),
        ({"data": b"x" * 20_000, "content_type": "application/json"}, 413),
        ({"json": {"username": "alice", "password": PASSWORD}, "query_string": "next=/"}, 400),
    ],
)
def test_login_takes_a_small_json_body_and_no_more(
    site: Site, options: dict[str, Any], expected: int
) -> None:
    """What a form of another site can send is refused by its type."""
    assert site.client.post("/api/auth/login", **options).status_code == expected


def test_another_site_cannot_act_in_a_users_name(site: Site) -> None:
    """Unsafe requests that only the cookie authorises: 403, on every route, and nothing happens."""
    client = log_in(site)
    for headers in (CROSS, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        for method, path in (
            ("POST", "/api/auth/logout"),
            ("DELETE", SESSIONS),
            ("DELETE", f"{SESSIONS}/{'0' * 40}"),
            ("POST", "/api/auth/keys"),
        ):
            answer = client.open(path, method=method, headers=headers, json={"name": "k"})
            assert code_of(answer) == (403, "forbidden")
    assert client.get(ME, headers=CROSS).status_code == 200
    assert client.get("/api/auth/keys").json["keys"] == []
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/auth/logout", headers=own).status_code == 204


def test_another_site_cannot_log_its_visitors_in(site: Site) -> None:
    """Also without any cookie: nobody is made to work in somebody else's account."""
    answer = site.client.post(
        "/api/auth/login", json={"username": "alice", "password": PASSWORD}, headers=CROSS
    )
    assert code_of(answer) == (403, "forbidden")
    assert "Set-Cookie" not in answer.headers


def test_a_key_is_authority_of_its_own(site: Site) -> None:
    """A request with an API key is nobody's browser: cross-site or not, it is as good as its key."""
    key = site.services.access.keys.create(1, "bot").text
    made = site.client.post("/api/auth/keys", json={"name": "other"}, headers={**CROSS, "X-API-Key": key})
    assert made.status_code in (201, 403)
    assert made.status_code == 201 or made.json["detail"].startswith("this needs the scope")
    assert site.client.get(ME, headers={"X-API-Key": key}).json["via"] == "key"
    assert code_of(site.client.get(SESSIONS, headers={"X-API-Key": key})) == (403, "forbidden")


def test_sessions_are_listed_and_ended(site: Site) -> None:
    """One sees one's own, with device and address; ends one of them; and nobody's but one's own."""
    site.services.access.accounts.create("bob", Tier.AUTHENTICATED, PASSWORD)
    first = log_in(site, headers={"User-Agent": "first"})
    second = log_in(site, headers={"User-Agent": "second"})
    bob = log_in(site, "bob")
    listed = first.get(SESSIONS).json["sessions"]
    assert [(each["device"], each["address"], each["current"]) for each in listed] == [
        ("first", "127.0.0.1", True),
        ("second", "127.0.0.1", False),
    ]
    assert set(listed[0]) == {
        "id",
        "device",
        "address",
        "created_at",
        "last_seen_at",
        "expires_at",
        "current",
    }
    ids = [each["id"] for each in listed]
    assert code_of(bob.delete(f"{SESSIONS}/{ids[1]}")) == (404, "not_found")
    for odd in ("0" * 40, "x", "%2e%2e", "a" * 5000, "\u00ff"):
        assert code_of(first.delete(f"{SESSIONS}/{odd}")) == (404, "not_found")
    assert status(second) == 200
    assert first.delete(f"{SESSIONS}/{ids[1]}").status_code == 204
    assert (status(first), status(second), status(bob)) == (200, 401, 200)
    assert first.delete(f"{SESSIONS}/{ids[0]}").status_code == 204
    assert status(first) == 401


def test_the_list_tells_when_a_session_was_last_seen(site: Site) -> None:
    """Later than it began once it is used again; here it is noted at each use, not each minute."""
    reader = site.services.sessions.reader
    reader._lives = reader._lives._replace(idle=0.0)
    client = log_in(site)

    def mine() -> dict[str, str]:
        (only,) = client.get(SESSIONS).json["sessions"]
        return only

    until(lambda: mine()["last_seen_at"] > mine()["created_at"], "the use is noted")
    assert mine()["expires_at"] > mine()["last_seen_at"]


def test_all_other_sessions_end(site: Site, redis_url: str) -> None:
    """Also copies of them, since the account's epoch is another; mine goes on, under a new id."""
    mine, other = log_in(site), log_in(site)
    sid, epoch = cookie_of(mine), site.services.access.accounts.epoch(1)
    assert mine.delete(SESSIONS).status_code == 204
    assert (status(mine), status(other)) == (200, 401)
    assert cookie_of(mine) != sid
    assert site.services.access.accounts.epoch(1) != epoch
    assert len(session_keys(redis_url)) == 1
    other.set_cookie("session", sid)
    assert status(other) == 401


def test_all_sessions_end(site: Site, redis_url: str) -> None:
    """This one as well."""
    mine, other = log_in(site), log_in(site)
    assert mine.delete(SESSIONS + "?all=true").status_code == 204
    assert cookie_of(mine) is None
    assert (status(mine), status(other)) == (401, 401)
    assert session_keys(redis_url) == []


@pytest.mark.parametrize("change", ["set_tier", "set_password", "disable"])
def test_other_rights_end_all_sessions(site: Site, change: str) -> None:
    """Whoever goes on has logged in anew, under a new id."""
    client = log_in(site)
    accounts = site.services.access.accounts
    if change == "set_tier":
        accounts.set_tier(1, Tier.ADMIN)
    elif change == "set_password":
        accounts.set_password(1, PASSWORD)
    else:
        accounts.disable(1)
    assert status(client) == 401
    answer = client.post("/api/auth/login", json={"username": "alice", "password": PASSWORD})
    assert answer.status_code == (401 if change == "disable" else 200)


def test_market_answers_stay_public(site: Site) -> None:
    """A session does not make what is the same for all depend on the cookie."""
    answer = log_in(site).get("/api/market/pairs")
    assert answer.status_code == 200
    assert "Cookie" not in answer.headers.get("Vary", "")
    assert "Set-Cookie" not in answer.headers


def test_metrics_count_sessions(site: Site) -> None:
    """`sessions_active` is of the moment in which it is read."""
    clients = [log_in(site), log_in(site)]
    site.get("/metrics")
    assert metrics.sessions_active._value.get() == 2
    clients[0].post("/api/auth/logout")
    assert "\nsessions_active 1.0\n" in site.get("/metrics").text


def test_without_redis_nobody_logs_in_and_nothing_fails(
    own_redis_server: RunningServer, clock: FakeClock, namespace: str, tmp_path: Path
) -> None:
    """A session is nobody's, login says 503 with Retry-After, the market goes on; then all is well again."""
    server = own_redis_server
    settings = settings_for(server.url, cache_namespace=namespace, instance_dir=tmp_path)
    with open_site(settings, ScriptedExchange(clock)) as site:
        site.services.access.accounts.create("alice", Tier.PREMIUM, PASSWORD)
        client = log_in(site)
        server.kill()
        answer = site.client.post("/api/auth/login", json={"username": "alice", "password": PASSWORD})
        assert code_of(answer) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        wrong = site.client.post("/api/auth/login", json={"username": "alice", "password": "wrong"})
        assert wrong.status_code == 503, "no password is looked at"
        assert status(client) == 401
        assert code_of(client.post("/api/auth/logout"))[0] == 503
        assert cookie_of(client) is not None
        assert status(client, "/api/market/pairs") == 200
        server.start()
        again = {"username": "alice", "password": PASSWORD}
        until(lambda: client.post("/api/auth/login", json=again).status_code == 200, "login works")
        assert status(client) == 200
