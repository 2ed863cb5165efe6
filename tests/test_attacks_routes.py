"""No spelling of a path leads past the gate or to what is for admins; no route lets anybody in by mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from shivx.app import create_app
from shivx.config import Settings
from shivx.identity import Tier
from tests.accounts_stage import SECRET
from tests.attack_stage import Fortress

pytestmark = pytest.mark.service

SPELLINGS = (
    *("//api/{}", "///api/{}", "/api//{}", "/./api/{}", "/x/../api/{}", "/API/{}", "/Api/{}", "/api/{}/"),
    *("/%61pi/{}", "/api%2F{}", "/%2Fapi/{}", "/api/%2e/{}", "/api/{};a=b", "/api/{}%00", "/api/{}%20"),
    *("/api\\{}", "/api/{}?x=/metrics", "/metrics/../api/{}", "/healthz/..%2fapi/{}", "/%ff/api/{}"),
    *("/api/{}//", "/api/{}.json", "/api/{}%0d%0a", "/metrics?/api/{}", "/api/{}#/metrics"),
    *("http://127.0.0.1/api/{}", "http://evil.example/api/{}"),
)
ADMINS = (
    "admin/audit",
    "admin/cache/stats",
    "admin/cache/explain",
    "admin/cache/invalidate",
    "admin/cache/flush",
)
OPEN = {"/api/admin/cache/health"}


@pytest.fixture(scope="module")
def stronghold(start_fortress: Callable[..., Fortress]) -> Fortress:
    """A service that all tests here attack."""
    return start_fortress()


def routes(prefix: str) -> list[tuple[str, str]]:
    """Return each method and path of the service under *prefix*, as its URL map has them."""
    app = create_app(Settings(secret_keys=(SECRET,), redis_url="redis://127.0.0.1:1"))
    return [
        (method, re.sub("<[^>]*>", "1", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(prefix)
        for method in sorted(rule.methods or ())
    ]


def lesser(stronghold: Fortress) -> dict[str, dict[str, str]]:
    """Return the headers of all who are somebody and may nothing of what admins may."""
    tiers = (Tier.AUTHENTICATED, Tier.PREMIUM, Tier.SERVICE)
    scopes = {"name": "lesser", "scopes": ["read", "keys", "events"]}
    made = stronghold.send("/api/auth/keys", stronghold.by_key(Tier.ADMIN), "POST", scopes)
    return {
        **{f"key of {tier}": stronghold.by_key(tier) for tier in tiers},
        **{f"session of {tier}": {"Cookie": stronghold.login(tier)} for tier in tiers},
        "an admin's key without the scope": {"X-API-Key": json.loads(made.body)["key"]},
    }


def test_no_admin_route_answers_without_rights(stronghold: Fortress) -> None:
    """Each of the URL map, by each method: 401 to strangers, 403 to all others; bodies do not matter."""
    found = [route for route in routes("/api/admin/") if route[1] not in OPEN]
    assert {path for _, path in found} >= {f"/api/{name}" for name in ADMINS}
    others = lesser(stronghold)
    for method, path in found:
        for who, headers in others.items():
            for body in (None, {}, {"tags": ["x"], "reason": "x"}):
                if method == "POST" or body is None:
                    answer = stronghold.send(path, headers, method, body)
                    assert answer.status == 403, (method, path, who)
        assert stronghold.send(path, None, method).status == 401, (method, path)


def test_every_route_of_the_api_is_limited(stronghold: Fortress) -> None:
    """Each of the URL map, by each method, tells its limit, whatever it answers."""
    for method, path in routes("/api/"):
        answer = stronghold.send(path, None, method)
        assert answer.headers["X-RateLimit-Limit"], (method, path)
        assert answer.status < 500, (method, path, answer.body)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_reaches_what_is_for_admins(stronghold: Fortress, spelling: str) -> None:
    """Without rights there is neither a success nor a server error, however the path is written."""
    key = f"X-API-Key: {stronghold.accounts[Tier.PREMIUM].key}"
    for target in ADMINS:
        for lines in ((), (key,)):
            status, text = stronghold.raw(*lines, path=spelling.format(target))
            assert 300 <= status < 500 or "/metrics?" in spelling, text
            assert '"rows"' not in text


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_leads_past_the_limit(stronghold: Fortress, spelling: str) -> None:
    """Whatever answers market data has counted the request."""
    status, text = stronghold.raw(path=spelling.format("market/pairs"))
    assert status < 500
    if '"pairs"' in text or '"BTC' in text:
        assert "x-ratelimit-limit:" in text.lower()


def test_methods_that_override_do_not(stronghold: Fortress) -> None:
    """Neither a header nor a parameter turns a method into another."""
    before = stronghold.send("/api/auth/keys", stronghold.by_key(Tier.PREMIUM)).body
    for override in (
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-HTTP-Method": "DELETE"},
        {"X-Method-Override": "DELETE"},
    ):
        stronghold.send("/api/auth/keys/1", stronghold.by_key(Tier.PREMIUM) | override, "POST", {})
        stronghold.send("/api/auth/keys?_method=DELETE", stronghold.by_key(Tier.PREMIUM) | override)
    assert stronghold.send("/api/auth/keys", stronghold.by_key(Tier.PREMIUM)).body == before


def test_nobody_sees_or_ends_the_keys_of_others(stronghold: Fortress) -> None:
    """The number of a key is no right to it."""
    shown = stronghold.send("/api/auth/keys", stronghold.by_key(Tier.AUTHENTICATED)).body
    mine = {key["id"] for key in json.loads(shown)["keys"]}
    for key in {*range(1, 20)} - mine:
        answer = stronghold.send(f"/api/auth/keys/{key}", stronghold.by_key(Tier.AUTHENTICATED), "DELETE")
        assert answer.status == 404, key
    for tier in (Tier.PREMIUM, Tier.ADMIN):
        assert stronghold.send("/api/auth/keys", stronghold.by_key(tier)).status == 200
