"""No header makes anybody more than what his key or session makes him; guesses of keys are counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shivx.accounts.key_text import make_key
from shivx.identity import Tier
from tests.attack_stage import LIMITS, SHOWN, Fortress, tier_in

pytestmark = pytest.mark.service

SPOOFS = [
    {name: value}
    for value in ("admin", "the-admin", "1", "4", "true", '{"tier": "admin"}')
    for name in (
        *("Remote-User", "X-Remote-User", "Remote-Addr", "X-Forwarded-User", "X-Forwarded-Email", "X-User"),
        *("X-User-Id", "X-Account", "X-Account-Id", "X-Tier", "X-Role", "X-Admin", "X-Scopes", "Tier"),
        *("X-Authenticated-User", "X-Original-User", "Shivx-Caller", "Shivx-Tier", "shivx.caller"),
        *("shivx.tier", "shivx.session", "cache_ext.session", "wsgi.url_scheme", "X-ShivX-Caller"),
    )
]
OTHERS = [
    {"Authorization": "Basic dGhlLWFkbWluOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ=="},
    {"Authorization": "Digest username=the-admin"},
    {"X-Original-URL": "/api/admin/audit", "X-Rewrite-URL": "/api/admin/audit"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"Proxy-Authorization": "Bearer admin"},
    {"Cookie": "session=admin; __Host-session=admin; tier=admin; remember_token=1|x"},
    {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "::1", "Forwarded": "for=127.0.0.1;by=admin"},
]


@pytest.fixture(scope="module")
def stronghold(start_fortress: Callable[..., Fortress]) -> Fortress:
    """A service that all tests here attack."""
    return start_fortress()


@pytest.mark.parametrize("tier", [Tier.ANONYMOUS, Tier.AUTHENTICATED, Tier.SERVICE])
def test_no_header_changes_who_one_is(stronghold: Fortress, tier: Tier) -> None:
    """Whatever it calls itself, a client is who its key says, and nobody without one."""
    own = {} if tier is Tier.ANONYMOUS else stronghold.by_key(tier)
    for spoof in (*SPOOFS, *OTHERS):
        answer = stronghold.send(SHOWN, {**spoof, **own})
        assert tier_in(answer) == tier, spoof
        assert answer.headers["X-RateLimit-Limit"] == str(LIMITS[tier.upper()]), spoof


@pytest.mark.parametrize(
    "line",
    [
        "SCRIPT_NAME: /api",  # gunicorn would take it off the path: no limit, and a 404
        "SCRIPT_NAME: /elsewhere",  # ... or fail, as the path does not begin with it
        "PATH_INFO: /healthz",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Ssl: on",
        "X-Forwarded-Protocol: ssl",
    ],
)
def test_no_header_makes_a_request_another(stronghold: Fortress, line: str) -> None:
    """Though it comes from this machine, where gunicorn would look for a proxy: path and scheme stay."""
    status, text = stronghold.raw(line)
    assert status == 200, text
    assert f"x-ratelimit-limit: {LIMITS['ANONYMOUS']}" in text.lower()
    assert "strict-transport-security" not in text.lower()


@pytest.mark.parametrize(
    "line",
    [
        "X_API_KEY: {key}",  # WSGI would know it by the same name as X-API-Key
        "X-API_Key: {key}",
        "HTTP_X_API_KEY: {key}",
        "X-API-Keys: {key}",
        "X-Api-Key.: {key}",
        "Cookie: X-API-Key={key}; api_key={key}",
        "Authorization: Basic {key}",
        "Authorization: {key}",
        "Proxy-Authorization: Bearer {key}",
    ],
)
def test_a_key_counts_only_where_the_contract_says(stronghold: Fortress, line: str) -> None:
    """What a proxy that strips X-API-Key lets through is no key."""
    status, text = stronghold.raw(line.format(key=stronghold.accounts[Tier.ADMIN].key))
    assert status in {200, 400, 401}
    assert '"anonymous";q=' in text or status == 400


@pytest.mark.parametrize("second", ["X-API-Key: {key}", "x-api-key: {key}", "Authorization: Bearer {key}"])
def test_two_keys_that_differ_are_refused(stronghold: Fortress, second: str) -> None:
    """Nobody can add a key to another's request, nor have proxy and service read different ones."""
    keys = stronghold.accounts
    first = f"X-API-Key: {keys[Tier.AUTHENTICATED].key}"
    status, text = stronghold.raw(first, second.format(key=keys[Tier.ADMIN].key))
    assert status == 401
    assert '"anonymous";q=' in text


@pytest.mark.parametrize("end", [" ", "\t", "\x00", "\x0b", ",", ";", "=", "%00", "\xa0"])
def test_a_key_with_something_at_its_end_is_that_key_or_none(stronghold: Fortress, end: str) -> None:
    """Only blanks, which HTTP says are no part of a value, may follow."""
    status, text = stronghold.raw(f"X-API-Key: {stronghold.accounts[Tier.PREMIUM].key}{end}")
    if end in " \t":
        assert (status, '"premium";q=' in text) == (200, True)
    else:
        assert status in {400, 401}
        assert '"premium"' not in text


def test_guessed_keys_are_refused_and_counted(stronghold: Fortress) -> None:
    """A well-formed key that nobody has, and garbage, get 401 and cost the quota of the address."""
    first = int(stronghold.send(SHOWN).headers["X-RateLimit-Remaining"])
    guesses = [make_key() for _ in range(5)] + ["shx_", "admin", "' OR 1=1 --", "a" * 4000, "0"]
    for guess in guesses:
        answer = stronghold.send(SHOWN, {"X-API-Key": guess})
        assert (answer.status, tier_in(answer)) == (401, "anonymous"), guess
        assert guess.encode() not in answer.body or len(guess) < 6
    last = int(stronghold.send(SHOWN).headers["X-RateLimit-Remaining"])
    assert first - last == len(guesses) + 1


def test_a_key_is_no_better_for_being_nearly_right(stronghold: Fortress) -> None:
    """Each character of it counts."""
    key = stronghold.accounts[Tier.ADMIN].key
    for place in range(len(key)):
        changed = "0" if key[place] != "0" else "1"
        near = key[:place] + changed + key[place + 1 :]
        assert stronghold.send(SHOWN, {"X-API-Key": near}).status == 401, place


def test_no_log_has_a_key_that_was_sent(stronghold: Fortress) -> None:
    """Neither good keys nor bad ones, nor the password of a login."""
    bad = make_key()
    stronghold.send(SHOWN, {"X-API-Key": bad})
    stronghold.send(SHOWN, stronghold.by_key(Tier.ADMIN))
    stronghold.send(f"{SHOWN}?api_key={bad}")
    log = stronghold.service.log
    assert bad not in log
    assert not [known.name for known in stronghold.accounts.values() if known.key in log]
