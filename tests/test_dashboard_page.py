"""Who gets the dashboard, its files and the page to log in at, and how browsers may keep them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response

from cache_ext.dashboard.blueprint import FOLDER, Links, dashboard
from cache_ext.testing import FakeClock
from shivx.identity import Tier
from tests.accounts_stage import PASSWORD
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for

PAGE, LOGIN = "/admin/cache", "/admin/login"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def site(clock: FakeClock, redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Site]:
    """The application with an admin and a customer."""
    settings = settings_for(redis_url, cache_namespace=namespace, instance_dir=tmp_path)
    with open_site(settings, ScriptedExchange(clock)) as opened:
        for name, tier in (("root", Tier.ADMIN), ("ann", Tier.PREMIUM)):
            opened.services.access.accounts.create(name, tier, PASSWORD)
        yield opened


def client_of(site: Site, name: str) -> Any:
    """Return a client that *name* is logged in with."""
    client = site.app.test_client()
    assert client.post("/api/auth/login", json={"username": name, "password": PASSWORD}).status_code == 200
    return client


def files_in(page: str) -> list[str]:
    """Return the paths of all that a page loads."""
    return re.findall(r'(?:src|href)="(/[^"]+)"', page)


def test_an_admin_gets_a_page_that_nobody_keeps(site: Site) -> None:
    """With the policy of pages, under which nothing inside it runs; it has nothing that would."""
    answer = client_of(site, "root").get(PAGE, headers=BROWSER)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:|https?://", answer.text)


def test_a_look_at_it_is_in_the_audit(site: Site) -> None:
    """As a read."""
    client_of(site, "root").get(PAGE, headers=BROWSER)
    site.services.audit.flush()
    page = site.services.audit.page(10)
    events = [*page.open, *(row.event for row in page.rows)]
    assert ("admin.read", PAGE, "root") in [(each.action, each.target, each.name) for each in events]


def test_a_browser_without_session_is_sent_to_log_in(site: Site) -> None:
    """A program is told what it lacks instead."""
    answer = site.get(PAGE, headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (303, LOGIN)
    assert answer.headers["Cache-Control"] == "no-store"
    for accept in ("*/*", "application/json", ""):
        answer = site.get(PAGE, headers={"Accept": accept} if accept else {})
        assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")


def test_who_is_no_admin_does_not_get_it(site: Site) -> None:
    """The page to log in at says as whom he is logged in."""
    client = client_of(site, "ann")
    assert client.get(PAGE, headers=BROWSER).headers["Location"] == LOGIN
    assert client.get(PAGE).status_code == 403
    assert "ann, who is no admin" in client.get(LOGIN).text


def test_a_key_opens_no_page(site: Site) -> None:
    """Not even an admin's: what the page asks for would come without it."""
    root = client_of(site, "root")
    made = root.post("/api/auth/keys", json={"name": "k", "scopes": ["admin"]}).json
    for headers in (BROWSER, {}):
        answer = site.get(PAGE, headers={**headers, "X-API-Key": made["key"]})
        assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


def test_an_admin_need_not_log_in_again(site: Site) -> None:
    """The page to log in at sends him on."""
    answer = client_of(site, "root").get(LOGIN)
    assert (answer.status_code, answer.headers["Location"]) == (303, PAGE)
    assert site.get(LOGIN).status_code == 200


def test_files_may_be_kept_and_are_asked_for_anew_when_they_change(site: Site) -> None:
    """Each that the pages name is there, for ever, with a tag; under another version there is none."""
    found = files_in(client_of(site, "root").get(PAGE).text) + files_in(site.get(LOGIN).text)
    assert len(set(found)) >= 8
    for path in set(found):
        answer = site.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in answer.headers
        again = site.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        changed = re.sub(r"assets/[0-9a-f]{16}/", "assets/0123456789abcdef/", path)
        assert site.get(changed).status_code == 404


def test_all_modules_are_loaded_by_names_that_exist(site: Site) -> None:
    """What a module imports lies beside it."""
    modules = {path.name: path.read_text() for path in (FOLDER / "js").glob("*.js")}
    imported = {name for text in modules.values() for name in re.findall(r'from "\./([\w.]+)"', text)}
    assert imported == modules.keys() - {"main.js", "chosen_theme.js"}


@pytest.mark.parametrize("name", ["../blueprint.py", "dashboard.html", "js/", "nothing.js", "..%2fassets.py"])
def test_nothing_but_the_files_is_served(site: Site, name: str) -> None:
    """No other file of the machine, nor the page without its links."""
    version = re.search(r"assets/([0-9a-f]{16})/", site.get(LOGIN).text)
    assert version
    assert site.get(f"{PAGE}/assets/{version[1]}/{name}").status_code == 404


def test_foreign_code_is_named_with_version_and_licence() -> None:
    """Beside it."""
    vendor = FOLDER / "vendor"
    (script,) = vendor.glob("*.js")
    assert re.search(r"\(v1\.6\.32\)", script.read_text()[:200])
    assert "1.6.32" in script.name
    assert "MIT" in (vendor / "uPlot-LICENSE.txt").read_text()


def test_the_page_offers_what_there_is_a_route_for(site: Site) -> None:
    """Each link leads to a route."""
    text = client_of(site, "root").get(PAGE).text
    (told,) = re.findall(r'data-links="([^"]*)"', text)
    links = json.loads(unescape(told))
    rules = {rule.rule for rule in site.app.url_map.iter_rules()}
    assert set(links.values()) <= rules
    assert {"stats", "health", "invalidate", "flush", "login", "logout"} <= links.keys()


def test_any_application_can_have_it() -> None:
    """Where it likes, guarded as it likes, and what it puts into the page is text."""
    app = Flask("another")

    def guarded(view: Any) -> Any:
        return lambda: Response("no", 418) if "closed" in app.config else view()

    app.register_blueprint(dashboard(lambda: Links('/stats"><b>'), guarded, url_prefix="/cache"))
    page = app.test_client().get("/cache").text
    assert "<b>" not in page
    assert json.loads(unescape(re.findall(r'data-links="([^"]*)"', page)[0])) == {"stats": '/stats"><b>'}
    for path in files_in(page):
        assert path.startswith("/cache/assets/")
        assert app.test_client().get(path).status_code == 200
    app.config["closed"] = True
    assert app.test_client().get("/cache").status_code == 418
