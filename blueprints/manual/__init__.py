"""``/docs``: what the API is, for people, as Swagger UI shows it."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, request

from cache_ext.dashboard.assets import Assets
from cache_ext.dashboard.pages import page

FOLDER = Path(__file__).parent
PAGE = "/docs"
DOCUMENT = "/openapi.json"


def manual() -> Blueprint:
    """Return the page, and the files that it needs."""
    blueprint = Blueprint("manual", __name__, url_prefix=PAGE)
    assets = Assets(FOLDER)

    @blueprint.get("")
    def show() -> Response:
        """Show the page."""
        root = request.script_root
        below = f"{root}{PAGE}/assets/{assets.version}"
        return page(FOLDER / "docs.html", assets=below, document=root + DOCUMENT)

    @blueprint.get("/assets/<version>/<path:path>")
    def asset(version: str, path: str) -> Response:
        """Return a file of the page."""
        return assets.answer(version, path)

    return blueprint
