"""What an admin changes over HTTP is in the audit before it is done, by whichever route."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from blueprints.rights import ADMINS, demand_of
from cache_ext.testing import FakeClock
from shivx.identity import Tier
from shivx.jobs.store import new_id
from tests.accounts_stage import PASSWORD
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for
from tests.processes import processes
from tests.waiting import until

PATIENCE = 120.0  # seconds: for a process that gives way to all others
READS = {"GET", "HEAD", "OPTIONS"}
CHANGES: dict[tuple[str, str], tuple[Any, str]] = {
    ("POST", "/api/admin/cache/invalidate"): ({"tags": ["t"]}, "cache.invalidate"),
    ("POST", "/api/admin/cache/flush"): ({"reason": "a bad deploy"}, "cache.flush"),
    ("POST", "/api/admin/cache/warm"): ({"pairs": ["BTC-USDC"]}, "cache.warm"),
    ("POST", "/api/auth/keys"): ({"name": "bot"}, "keys.create"),
    ("DELETE", "/api/auth/keys/<int:key>"): (None, "keys.revoke"),
    ("POST", "/api/events"): ({"type": "token_updated", "symbol": "BTC"}, "events.post"),
    ("POST", "/api/ml/models/<name>/retrain"): (None, "models.train"),
    ("DELETE", "/api/ml/jobs/<job>"): (None, "models.cancel"),
    ("DELETE", "/api/auth/sessions"): (None, "sessions.revoke_all"),
    ("DELETE", "/api/auth/sessions/<session>"): (None, "sessions.revoke"),
}
"""By method and rule: a body, and the action that the audit has to name. A new route belongs here; what ends
something behind what begins it."""
COUNTED = {("POST", "/api/auth/login"): "auth.login", ("POST", "/api/auth/logout"): "auth.logout"}
"""What must be possible while nothing can be recorded."""


@pytest.fixture
def site(clock: FakeClock, redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Site]:
    """The application with an admin."""
    settings = settings_for(redis_url, cache_namespace=namespace, instance_dir=tmp_path, cache_op_timeout=1.0)
    with open_site(settings, ScriptedExchange(clock)) as opened:
        opened.services.access.accounts.create("root", Tier.ADMIN, PASSWORD)
        yield opened


def changing(site: Site) -> set[tuple[str, str]]:
    """Return method and rule of each route that may change something."""
    return {
        (method, rule.rule)
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - READS
    }


def told(site: Site) -> list[tuple[str, str]]:
    """Return action and outcome of the rows that there are, oldest first."""
    return [(row.event.action, row.event.outcome) for row in reversed(site.services.audit.page(100).rows)]


def test_every_route_that_changes_something_is_recorded(
    site: Site, redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is meant and what came of it are two rows, whoever added the route."""
    for name, value in {
        "REDIS_URL": redis_url,
        "CACHE_NAMESPACE": namespace,
        "INSTANCE_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(f"SHIVX_{name}", value)  # for the processes of jobs
    assert changing(site) == CHANGES.keys() | COUNTED.keys()
    root = log_in(site)
    made, jobs = "", []
    for (method, rule), (body, action) in CHANGES.items():
        (session,) = root.get("/api/auth/sessions").json["sessions"]
        path = rule.replace("<session>", session["id"]).replace("<name>", "direction")
        for latest in ("<int:key>", "<job>"):
            path = path.replace(latest, str(made))
        before = told(site)
        answer = root.open(path, method=method, json=body)
        assert 200 <= answer.status_code < 300, (path, answer.text)
        made = (answer.json or {}).get("id", made)
        jobs += [made] if answer.status_code == 202 and "Location" in answer.headers else []
        assert told(site) == [*before, (action, "intended"), (action, "done")], path
    assert len(jobs) == 2
    until(
        lambda: not any(f"--job {job}" in each.command for each in processes() for job in jobs),
        "the warming and the training have ended",
        PATIENCE,
    )


def log_in(site: Site) -> Any:
    """Return a client that the admin is logged in with."""
    root = site.app.test_client()
    assert root.post("/api/auth/login", json={"username": "root", "password": PASSWORD}).status_code == 200
    return root


def reads(site: Site) -> int:
    """Return how many reads were counted."""
    site.services.audit.flush()
    page = site.services.audit.page(100)
    return sum(e.count for e in (*page.open, *(row.event for row in page.rows)) if e.outcome == "read")


def test_every_route_that_shows_admins_something_is_counted(site: Site) -> None:
    """Once for each look, whoever added the route."""
    root, job = log_in(site), new_id("direction")
    site.services.launcher.jobs.begin(job)
    paths = [
        rule.rule.replace("<job>", job)
        for rule in site.app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and demand_of(site.app.view_functions[rule.endpoint]) == ADMINS
    ]
    assert "/api/admin/audit" in paths
    queries = {"/api/admin/cache/explain": "?key=k"}
    for number, path in enumerate(each + queries.get(each, "") for each in paths):
        assert reads(site) == number
        assert root.get(path).status_code == 200, path
        assert reads(site) == number + 1, path


def test_no_route_changes_anything_while_nothing_can_be_recorded(site: Site) -> None:
    """503 for the admin, whoever added the route, and nothing is begun; he can log in and out."""
    root = log_in(site)
    (session,) = root.get("/api/auth/sessions").json["sessions"]
    key = root.post("/api/auth/keys", json={"name": "bot"}).json["id"]
    before = told(site)
    rename = "ALTER TABLE {} RENAME TO {}".format
    database = site.services.access.database
    database.write(lambda session: session.execute(text(rename("audit_head", "away"))) and None)
    for (method, rule), (body, _) in CHANGES.items():
        path = rule.replace("<session>", session["id"]).replace("<name>", "direction")
        path = path.replace("<int:key>", str(key)).replace("<job>", new_id("direction"))
        answer = root.open(path, method=method, json=body)
        assert (answer.status_code, answer.json["code"]) == (503, "unavailable"), path
    assert [each["id"] for each in root.get("/api/auth/sessions").json["sessions"]] == [session["id"]]
    assert [each["id"] for each in root.get("/api/auth/keys").json["keys"]] == [key]
    assert log_in(site).post("/api/auth/logout").status_code == 204
    database.write(lambda session: session.execute(text(rename("away", "audit_head"))) and None)
    assert told(site) == before
