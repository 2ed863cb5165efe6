"""The dashboard as a blueprint, which any Flask application can register."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from flask import Blueprint, Response, request
from msgspec import Struct

from cache_ext.dashboard.assets import Assets
from cache_ext.dashboard.pages import page

FOLDER = Path(__file__).parent / "files"

View = Callable[[], Response]


class Links(Struct, frozen=True, omit_defaults=True):
    """Where the page finds what it shows and does: paths of the same host. What has none is not offered.

    Args:
        stats: GET answers a `cache_ext.stats.report.Report`.
        health: GET answers ``{"status", "origins"}``.
        explain: GET with ``key``, ``path`` or ``request_id`` answers what is known of it.
        invalidate: POST takes ``tags``, ``keys`` or ``paths``, and ``dry_run``.
        flush: POST takes a ``reason``.
        warm: POST answers 202, and in Location where a job tells ``status`` and ``progress``.
        login: where somebody goes whose session is over.
        logout: POST ends it.
        manual: what all of it means.
    """

    stats: str
    health: str | None = None
    explain: str | None = None
    invalidate: str | None = None
    flush: str | None = None
    warm: str | None = None
    login: str | None = None
    logout: str | None = None
    manual: str | None = None


def dashboard(
    links: Callable[[], Links],
    protect: Callable[[View], View],
    *,
    url_prefix: str = "/admin/cache",
    name: str = "cache_dashboard",
) -> Blueprint:
    """Return a blueprint with the page, and the files that it needs.

    The page runs under a Content-Security-Policy of ``default-src 'none'; script-src 'self';
    style-src 'self'; img-src 'self'; connect-src 'self'``, which it does not set itself. Its files hold no
    secret: who cannot see the page gets them all the same.

    Args:
        links: returns where the page finds what; called for each page.
        protect: decorates the view that returns the page, with whatever says who may see it.
        url_prefix: where the page is.
        name: of the blueprint.
    """
    blueprint = Blueprint(name, __name__, url_prefix=url_prefix)
    assets = Assets(FOLDER)

    def show() -> Response:
        """Return the page."""
        below = f"{request.script_root}{url_prefix}/assets/{assets.version}"
        told = msgspec.json.encode(links()).decode()
        return page(FOLDER / "dashboard.html", assets=below, links=told)

    def asset(version: str, path: str) -> Response:
        """Return a file of the page."""
        return assets.answer(version, path)

    blueprint.add_url_rule("", "show", protect(show))
    blueprint.add_url_rule("/assets/<version>/<path:path>", "asset", asset)
    return blueprint
