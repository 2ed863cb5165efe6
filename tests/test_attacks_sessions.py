"""Sessions and logins of a running service, attacked by clients, by other sites, and from within Redis."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
import redis

from shivx.accounts.login import PER_ACCOUNT, PER_ADDRESS
from shivx.identity import Tier
from tests.accounts_stage import PASSWORD
from tests.attack_stage import SHOWN, Fortress, cookie_in, tier_in
from tests.service import Answer
from tests.spoils import SPOILS, spoil

pytestmark = pytest.mark.service

ME = "/api/auth/me"
SESSIONS = "/api/auth/sessions"
ADDRESSES = (f"203.0.{high}.{low}" for high, low in itertools.product(range(256), range(1, 255)))
CROSS_SITE = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "CROSS-SITE"},
    {"Sec-Fetch-Site": "nonsense"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://127.0.0.1.evil.example"},
    {"Origin": "https://127.0.0.1:1"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "https://evil.example", "X-Forwarded-Host": "good.example, evil.example, 127.0.0.1"},
)


@pytest.fixture(scope="module")
def stronghold(start_fortress: Callable[..., Fortress]) -> Fortress:
    """A service behind a proxy, as which the tests speak, so that they come from where they like."""
    return start_fortress(TRUSTED_PROXIES="1", CACHE_L1_MAX_BYTES="1")


def elsewhere() -> dict[str, str]:
    """Return what the proxy says of a client at an address that nobody else has."""
    return {"X-Forwarded-For": next(ADDRESSES), "X-Forwarded-Proto": "https"}


def log_in(stronghold: Fortress, tier: Tier = Tier.PREMIUM, **more: str) -> str:
    """Log in from an address of its own; return the cookie."""
    cookie = stronghold.login(tier, elsewhere() | more)
    assert cookie.startswith("__Host-")
    return cookie


def ask(stronghold: Fortress, cookie: str, path: str = ME, method: str = "GET", **more: str) -> Answer:
    """Send a request with that cookie."""
    return stronghold.send(path, elsewhere() | {"Cookie": cookie} | more, method)


def session_keys(intruder: redis.Redis) -> list[bytes]:
    """Return the keys of sessions."""
    return sorted(intruder.scan_iter(match="*session:*", count=1000))


def test_a_session_planted_before_login_is_not_used(stronghold: Fortress, intruder: redis.Redis) -> None:
    """Neither an invented cookie nor the attacker's own genuine one survives the victim's login."""
    attackers = log_in(stronghold, Tier.AUTHENTICATED)
    name = attackers.partition("=")[0]
    invented = f"{name}={base64.urlsafe_b64encode(secrets.token_bytes(33)).decode()}"
    for planted in (attackers, invented):
        victims = log_in(stronghold, Tier.PREMIUM, Cookie=planted)
        assert victims != planted
        assert json.loads(ask(stronghold, victims).body)["tier"] == "premium"
        seen = ask(stronghold, planted)
        assert seen.status == 401 or json.loads(seen.body)["tier"] != "premium"


def test_guessed_sessions_are_nobodys_and_counted(stronghold: Fortress, intruder: redis.Redis) -> None:
    """A cookie that nobody was given is as none, and the guess costs the quota of its address."""
    name = log_in(stronghold).partition("=")[0]
    here = elsewhere()
    first = int(stronghold.send(SHOWN, here).headers["X-RateLimit-Remaining"])
    guesses = [base64.urlsafe_b64encode(secrets.token_bytes(33)).decode() for _ in range(5)]
    guesses += ["", "admin", "1", "A" * 44, "A" * 3000, "../../x", "%00", "\u00e9"]
    for guess in guesses:
        answer = stronghold.send(SHOWN, here | {"Cookie": f"{name}={guess}"})
        assert (answer.status, tier_in(answer)) == (200, "anonymous"), guess
    last = int(stronghold.send(SHOWN, here).headers["X-RateLimit-Remaining"])
    assert first - last == len(guesses) + 1


def test_logins_at_one_account_are_limited_from_wherever(stronghold: Fortress, intruder: redis.Redis) -> None:
    """Each guess from another address: the next after the last allowed is not looked at, right or wrong."""
    for name in ("the-premium", "nobody-at-all"):
        seen = [stronghold.try_login(name, "wrong password", elsewhere()) for _ in range(PER_ACCOUNT + 3)]
        statuses = [answer.status for answer in seen]
        assert statuses == [401] * PER_ACCOUNT + [429] * 3
        assert int(seen[-1].headers["Retry-After"]) >= 1
    assert stronghold.try_login("the-premium", PASSWORD, elsewhere()).status == 429
    assert stronghold.try_login("the-admin", PASSWORD, elsewhere()).status == 200


def test_logins_from_one_address_are_limited(stronghold: Fortress, intruder: redis.Redis) -> None:
    """One password at many accounts, from one address, whatever it claims to be."""
    here = elsewhere()
    statuses = []
    for number in range(PER_ADDRESS + 2):
        claimed = here | {"X-Forwarded-For": f"198.51.100.{number}, {here['X-Forwarded-For']}"}
        statuses.append(stronghold.try_login(f"somebody-{number}", "password1", claimed).status)
    assert statuses == [401] * PER_ADDRESS + [429] * 2


def test_no_login_tells_whether_there_is_such_an_account(stronghold: Fortress, intruder: redis.Redis) -> None:
    """But for the request's id, both answers are the same, headers too."""

    def told(name: str) -> tuple[int, dict[str, object], list[str]]:
        answer = stronghold.try_login(name, "wrong password", elsewhere())
        body = {key: value for key, value in json.loads(answer.body).items() if "id" not in key}
        return answer.status, body | {"instance": None}, sorted(answer.headers.keys())

    assert told("the-premium") == told("nobody-at-all") == told("") == told("\x00") == told("the-service")


def test_another_site_cannot_act_with_a_cookie(stronghold: Fortress, intruder: redis.Redis) -> None:
    """Every unsafe route that a session opens refuses what a page of another site sends."""
    cookie = log_in(stronghold, Tier.ADMIN)
    routes = (
        *(("POST", "/api/auth/keys"), ("DELETE", "/api/auth/keys/1"), ("DELETE", SESSIONS)),
        *(("DELETE", f"{SESSIONS}/{'0' * 40}"), ("POST", "/api/auth/logout")),
        *(("POST", "/api/admin/cache/invalidate"), ("POST", "/api/admin/cache/flush")),
    )
    for headers in CROSS_SITE:
        for method, path in routes:
            assert ask(stronghold, cookie, path, method, **headers).status == 403, (path, headers)
        answer = stronghold.try_login("the-premium", PASSWORD, elsewhere() | headers)
        assert (answer.status, cookie_in(answer)) == (403, ""), headers
    assert ask(stronghold, cookie).status == 200


def test_a_replayed_session_is_over_after_all_were_ended(stronghold: Fortress, intruder: redis.Redis) -> None:
    """What Redis held is put back: the account's epoch, which is in the database, has moved on."""
    cookie = log_in(stronghold)
    kept = {key: intruder.dump(key) for key in session_keys(intruder)}
    assert kept
    assert ask(stronghold, cookie, f"{SESSIONS}?all=true", "DELETE").status == 204
    assert ask(stronghold, cookie).status == 401
    for key, value in kept.items():
        intruder.restore(key, 60_000, value, replace=True)
    assert ask(stronghold, cookie).status == 401


def test_a_replayed_session_is_over_after_it_alone_was_ended(
    stronghold: Fortress, intruder: redis.Redis
) -> None:
    """Its copy is put back, with its place in the list; the session that ended it goes on."""
    stolen, mine = log_in(stronghold), log_in(stronghold)
    (name,) = [each["id"] for each in sessions_of(stronghold, mine) if not each["current"]]
    kept = {key: intruder.dump(key) for key in session_keys(intruder) if key.endswith(name.encode())}
    kept |= {key: intruder.dump(key) for key in intruder.scan_iter(match="*x:sessions:*", count=1000)}
    assert len(kept) == 2
    assert ask(stronghold, mine, f"{SESSIONS}/{name}", "DELETE").status == 204
    for key, value in kept.items():
        intruder.restore(key, 60_000, value, replace=True)
    assert (ask(stronghold, stolen).status, ask(stronghold, mine).status) == (401, 200)
    assert [each["current"] for each in sessions_of(stronghold, mine)] == [True]
    assert ask(stronghold, mine, f"{SESSIONS}/{name}", "DELETE").status == 404


def sessions_of(stronghold: Fortress, cookie: str) -> list[dict[str, Any]]:
    """Return the list that the service shows."""
    listed: list[dict[str, Any]] = json.loads(ask(stronghold, cookie, SESSIONS).body)["sessions"]
    return listed


def test_sessions_under_each_others_keys_are_none(stronghold: Fortress, intruder: redis.Redis) -> None:
    """The admin's sealed session under the name of the attacker's makes nobody an admin."""
    cookies = {tier: log_in(stronghold, tier) for tier in (Tier.AUTHENTICATED, Tier.ADMIN)}
    keys = [key for key in session_keys(intruder) if intruder.type(key) == b"string"]
    assert len(keys) == 2
    values = [intruder.get(key) for key in keys]
    for key, value in zip(keys, reversed(values), strict=True):
        intruder.set(key, value, px=60_000)
    for cookie in cookies.values():
        assert ask(stronghold, cookie).status == 401


@pytest.mark.parametrize("kind", SPOILS)
def test_garbage_in_place_of_sessions(stronghold: Fortress, intruder: redis.Redis, kind: str) -> None:
    """Everything in Redis is replaced: nobody is logged in, nothing is a server error, and login works."""
    cookie = log_in(stronghold)
    for key in list(intruder.scan_iter(count=1000)):
        spoil(intruder, key, SPOILS[kind])
    for method, path in (("GET", ME), ("GET", SESSIONS), ("DELETE", SESSIONS), ("GET", "/api/auth/keys")):
        assert ask(stronghold, cookie, path, method).status == 401, (method, path)
    assert tier_in(ask(stronghold, cookie, SHOWN)) == "anonymous"
    assert ask(stronghold, cookie, "/api/auth/logout", "POST").status == 204
    again = log_in(stronghold)
    assert json.loads(ask(stronghold, again).body)["username"] == "the-premium"


def test_a_dump_holds_no_cookie(stronghold: Fortress, intruder: redis.Redis) -> None:
    """Neither the names of keys nor what is under them contain an id, or say whose session it is."""
    value = log_in(stronghold).partition("=")[2]
    kept = b"".join(key + (intruder.dump(key) or b"") for key in intruder.scan_iter(count=1000))
    for secret in (value.encode(), base64.urlsafe_b64decode(value), b"the-premium", b"Python-urllib"):
        assert secret not in kept
