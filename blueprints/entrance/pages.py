"""``/admin/login``: a page to log in at."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response

from blueprints.dashboard import LOGIN, PAGE, see_other
from blueprints.rights import ADMINS, current_caller, meets
from cache_ext.dashboard.assets import Assets
from cache_ext.dashboard.blueprint import FOLDER as LOOK
from cache_ext.dashboard.pages import page
from shivx.identity import Via

FOLDER = Path(__file__).parent
NOTE = "Log in to see the dashboard."


class Entrance:
    """Pages that look like the dashboard, and the files that they need."""

    def __init__(self) -> None:
        self.assets = Assets(FOLDER)
        self._look = Assets(LOOK).version

    def page(self, name: str, **texts: str) -> Response:
        """Return the page called *name*; see `cache_ext.dashboard.pages.page`."""
        return page(
            FOLDER / f"{name}.html",
            look=f"{PAGE}/assets/{self._look}",
            assets=f"{LOGIN}/assets/{self.assets.version}",
            **texts,
        )


def login_page(entrance: Entrance) -> Blueprint:
    """Return the blueprint of the page and its files."""
    blueprint = Blueprint("entrance", __name__, url_prefix=LOGIN)

    @blueprint.get("")
    def show() -> Response:
        """Show the page; who is an admin already goes on."""
        caller = current_caller()
        if caller.via is Via.SESSION and meets(caller, ADMINS):
            return see_other(PAGE)
        if caller.name:
            return entrance.page("login", note=f"You are logged in as {caller.name}, who is no admin.")
        return entrance.page("login", note=NOTE)

    @blueprint.get("/assets/<version>/<path:path>")
    def asset(version: str, path: str) -> Response:
        """Return a file of the pages."""
        return entrance.assets.answer(version, path)

    return blueprint
