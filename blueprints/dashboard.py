"""``/admin/cache``: the dashboard of `cache_ext`, for people who are logged in as admins."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus

from flask import Blueprint, Flask, Response, request

from blueprints.audited import record
from blueprints.rights import ADMINS, current_caller, meets, requires
from cache_ext.dashboard.blueprint import Links, dashboard
from shivx.audit.events import Outcome
from shivx.errors import Forbidden
from shivx.identity import Tier, Via

PAGE = "/admin/cache"
LOGIN = "/admin/login"
LINKS = {
    "health": "/api/admin/cache/health",
    "explain": "/api/admin/cache/explain",
    "invalidate": "/api/admin/cache/invalidate",
    "flush": "/api/admin/cache/flush",
    "warm": "/api/admin/cache/warm",
    "login": LOGIN,
    "logout": "/api/auth/logout",
}
"""What the dashboard may offer, if there is such a route."""


def dashboard_of(app: Flask) -> Blueprint:
    """Return the dashboard of *app*, which offers what there is a route for."""

    def links() -> Links:
        there = {rule.rule for rule in app.url_map.iter_rules()}
        found = {name: path for name, path in LINKS.items() if path in there}
        return Links("/api/admin/cache/stats", **found)

    return dashboard(links, for_admins, url_prefix=PAGE)


def for_admins(view: Callable[[], Response]) -> Callable[[], Response]:
    """Let only admins with a session see a page; send browsers of others to where one logs in.

    A key opens no page: what the page asks for comes without it.
    """

    @requires(Tier.ADMIN, scope="admin")
    @wraps(view)
    def demanding() -> Response:
        if current_caller().via is not Via.SESSION:
            raise Forbidden("This page needs a session, not a key.")
        record("admin.read", Outcome.READ)
        return view()

    @wraps(demanding)
    def sending() -> Response:
        caller = current_caller()
        if caller.via is not Via.KEY and not meets(caller, ADMINS) and _asks_for_page():
            return see_other(LOGIN)
        return demanding()

    return sending


def see_other(path: str) -> Response:
    """Return an answer that sends a browser to *path*."""
    answer = Response(status=HTTPStatus.SEE_OTHER)
    answer.headers["Location"] = path
    answer.cache_control.no_store = True
    return answer


def _asks_for_page() -> bool:
    """Tell whether the client would rather have a page than a problem document: it is a browser."""
    accepted = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/problem+json"]
