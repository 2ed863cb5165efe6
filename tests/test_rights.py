"""Who may ask what: /api/admin is closed to all but admins, and a service may post events only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.routing import Rule

from blueprints.rights import OPEN, demand_of, requires
from cache_ext.testing import FakeClock
from shivx.gate import anonymous
from shivx.identity import Caller, Tier, Via
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for

OPEN_ADMIN_ROUTES = {"/api/admin/cache/health"}
"""The contract names it as open; details are for admins."""
SCOPES = frozenset({"read", "keys", "events", "admin"})
OUTSIDERS = {
    "anonymous": Caller(Tier.ANONYMOUS, "address:203.0.113.7"),
    "anonymous with scopes": Caller(Tier.ANONYMOUS, "address:203.0.113.7", scopes=SCOPES),
    "authenticated": Caller(Tier.AUTHENTICATED, "account:2", Via.SESSION, 2, "ann", SCOPES),
    "premium": Caller(Tier.PREMIUM, "account:3", Via.KEY, 3, "bob", SCOPES, 1),
    "service": Caller(Tier.SERVICE, "account:4", Via.KEY, 4, "bot", SCOPES, 2),
    "admin whose key lacks the scope": Caller(
        Tier.ADMIN, "account:1", Via.KEY, 1, "root", SCOPES - {"admin"}, 3
    ),
    "admin whose key has no scope": Caller(Tier.ADMIN, "account:1", Via.KEY, 1, "root", frozenset(), 4),
}
SERVICE = OUTSIDERS["service"]
ADMIN = Caller(Tier.ADMIN, "account:1", Via.SESSION, 1, "root", SCOPES)


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application."""
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as opened:
        yield opened


def ask(site: Site, caller: Caller | None, path: str, method: str = "GET", **options: Any) -> Any:
    """Ask as *caller*, as if the gate had found him out."""
    gate = site.app.wsgi_app._app  # behind the envelope
    gate._identify = lambda environ: anonymous(environ) if caller is None else caller
    return site.client.open(path, method=method, **options)


def path_of(rule: Rule) -> str:
    """Return a path that *rule* matches."""
    return re.sub("<[^>]*>", "1", rule.rule)


def admin_routes(site: Site) -> list[tuple[str, str]]:
    """Return each method and path under /api/admin that is not open."""
    return [
        (method, path_of(rule))
        for rule in site.app.url_map.iter_rules()
        if rule.rule.startswith("/api/admin") and rule.rule not in OPEN_ADMIN_ROUTES
        for method in sorted(rule.methods or ())
    ]


def test_each_admin_route_demands_an_admin(site: Site) -> None:
    """In the map of all routes; only what the contract calls open is open."""
    for rule in site.app.url_map.iter_rules():
        if rule.rule.startswith("/api/admin"):
            demand = demand_of(site.app.view_functions[rule.endpoint])
            assert demand is not None, rule.rule
            if rule.rule in OPEN_ADMIN_ROUTES:
                assert demand == OPEN
            else:
                assert (demand.tiers, demand.scope) == ({Tier.ADMIN}, "admin"), rule.rule


@pytest.mark.parametrize("who", OUTSIDERS)
def test_no_admin_route_opens_to_outsiders(site: Site, who: str) -> None:
    """Every one of them, by every method: 401 to who did not say who he is, 403 to all others."""
    caller = OUTSIDERS[who]
    for method, path in admin_routes(site):
        answer = ask(site, caller, path, method, json={} if method == "POST" else None)
        assert answer.status_code == (401 if caller.via is Via.NOTHING else 403), (method, path)
        if method != "HEAD":
            assert answer.json["code"] in {"unauthenticated", "forbidden"}
        assert ("WWW-Authenticate" in answer.headers) == (caller.via is Via.NOTHING)


@pytest.mark.parametrize("header", ["X-Tier", "shivx.caller", "X-Forwarded-User", "X-Account"])
def test_no_header_makes_an_admin(site: Site, header: str) -> None:
    """Without the gate's word everybody is an address."""
    for method, path in admin_routes(site):
        answer = site.client.open(path, method=method, headers={header: "admin"})
        assert answer.status_code == 401


def test_a_new_admin_route_is_closed_until_it_says_who_may(site: Site) -> None:
    """A view whose author forgot is closed to admins too."""
    site.app.add_url_rule("/api/admin/forgotten", "forgotten", lambda: "secret", methods=["GET", "POST"])
    for method in ("GET", "POST", "OPTIONS"):
        assert ask(site, None, "/api/admin/forgotten", method).status_code == 401
        assert ask(site, ADMIN, "/api/admin/forgotten", method).status_code == 403


def test_a_service_may_ask_only_what_names_it(site: Site) -> None:
    """All of the API is closed to it but what is open to a service; probes are no part of the API."""
    for rule in site.app.url_map.iter_rules():
        if not rule.rule.startswith("/api/") or rule.rule in OPEN_ADMIN_ROUTES:
            continue
        demand = demand_of(site.app.view_functions[rule.endpoint])
        if demand is None or Tier.SERVICE not in demand.tiers:
            for method in sorted(rule.methods or ()):
                answer = ask(site, SERVICE, path_of(rule), method)
                assert answer.status_code == 403, (method, rule.rule)
    assert ask(site, SERVICE, "/healthz").status_code == 200


def test_a_view_may_name_several_tiers_and_a_scope(site: Site) -> None:
    """As that of the events does: a service or an admin, whose key was made for it."""
    view = requires(Tier.SERVICE, Tier.ADMIN, scope="events")(lambda: "posted")
    site.app.add_url_rule("/api/happenings", "happenings", view, methods=["POST"])
    assert ask(site, SERVICE, "/api/happenings", "POST").data == b"posted"
    assert ask(site, ADMIN, "/api/happenings", "POST").data == b"posted"
    reader = Caller(Tier.SERVICE, "account:4", Via.KEY, 4, "bot", frozenset({"read"}), 2)
    assert ask(site, reader, "/api/happenings", "POST").status_code == 403
    assert ask(site, OUTSIDERS["premium"], "/api/happenings", "POST").status_code == 403
    assert ask(site, None, "/api/happenings", "POST").status_code == 401


@pytest.mark.parametrize("who", OUTSIDERS)
def test_health_tells_details_to_admins_only(site: Site, who: str) -> None:
    """Others learn the one word that a load balancer needs."""
    assert ask(site, OUTSIDERS[who], "/api/admin/cache/health").json == {"status": "healthy"}
    told = ask(site, ADMIN, "/api/admin/cache/health").json
    assert told == {
        "status": "healthy",
        **dict.fromkeys(("redis", "limits", "sessions", "backplane", "database"), True),
        "origins": {"scripted": True},
        "degraded": [],
    }
