"""What people do to their own keys and sessions is in the audit, an admin's before it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cache_ext.testing import FakeClock
from shivx.accounts.login import PER_ACCOUNT
from shivx.audit.events import COUNTED
from shivx.identity import Tier
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for

PASSWORD = "correct horse battery"
KEYS, SESSIONS = "/api/auth/keys", "/api/auth/sessions"
PRICE = "/api/market/price/BTC-USDC"
LIMIT = 15


@pytest.fixture
def site(clock: FakeClock, redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Site]:
    """The application with an admin and a user, on a real Redis."""
    settings = settings_for(
        redis_url,
        cache_namespace=namespace,
        instance_dir=tmp_path,
        limit_anonymous=LIMIT,
        cache_op_timeout=1.0,
    )
    with open_site(settings, ScriptedExchange(clock)) as opened:
        for name, tier in (("root", Tier.ADMIN), ("alice", Tier.PREMIUM)):
            opened.services.access.accounts.create(name, tier, PASSWORD)
        yield opened


def browser(site: Site, name: str, password: str = PASSWORD) -> Any:
    """Return a browser that tried to log in, from an address of its own."""
    client = site.app.test_client()
    client.environ_base["REMOTE_ADDR"] = f"203.0.113.{sum(name.encode()) % 250}"
    client.status = client.post("/api/auth/login", json={"username": name, "password": password}).status_code
    return client


def told(site: Site) -> list[tuple[str, str, str, int]]:
    """Return name, action, outcome and count of what the audit has, oldest first.

    What is counted by the minute is added up, for a minute may end at any moment.
    """
    page = site.services.audit.page(100)
    found: list[tuple[str, str, str, int]] = []
    counts: Counter[tuple[str, str, str]] = Counter()
    for each in (*(row.event for row in reversed(page.rows)), *reversed(page.open)):
        what = each.name, each.action, each.outcome
        if each.outcome not in COUNTED:
            found.append((*what, each.count))
        counts[what] += each.count
    return found + [(*what, count) for what, count in counts.items() if what[2] in COUNTED]


def spoil(site: Site, statement: str = "ALTER TABLE audit_head RENAME TO away") -> None:
    """Take from the audit what it cannot do without."""
    site.services.access.database.write(lambda session: session.execute(text(statement)))


def change_all(client: Any) -> list[int]:
    """Make a key, revoke it, end all other sessions, then this one; return the statuses."""
    made = client.post(KEYS, json={"name": "bot"})
    answers = [made, client.delete(f"{KEYS}/{(made.json or {}).get('id', 1)}"), client.delete(SESSIONS)]
    mine = next(each["id"] for each in client.get(SESSIONS).json["sessions"] if each["current"])
    answers.append(client.delete(f"{SESSIONS}/{mine}"))
    return [answer.status_code for answer in answers]


ACTIONS = ["keys.create", "keys.revoke", "sessions.revoke_all", "sessions.revoke"]


def test_an_admins_changes_are_recorded_before_and_after(site: Site) -> None:
    """Each a pair of rows."""
    assert change_all(browser(site, "root")) == [201, 204, 204, 204]
    assert [entry for entry in told(site) if entry[2] != "noted"] == [
        ("root", action, outcome, 1) for action in ACTIONS for outcome in ("intended", "done")
    ]


def test_an_admin_changes_nothing_without_an_audit(site: Site) -> None:
    """503, and neither key nor end of a session; but he can log in and out."""
    admin = browser(site, "root")
    spoil(site)
    assert change_all(admin) == [503] * 4
    assert admin.get(KEYS).json["keys"] == []
    assert admin.get("/api/auth/me").status_code == 200
    assert admin.post("/api/auth/logout").status_code == 204
    assert browser(site, "root").status == 200


def test_what_users_do_is_counted_and_needs_no_audit(site: Site) -> None:
    """It is noted when it can be."""
    alice = browser(site, "alice")
    spoil(site)
    assert change_all(alice) == [201, 204, 204, 204]
    spoil(site, "ALTER TABLE away RENAME TO audit_head")
    assert sorted(told(site)) == sorted(("alice", action, "noted", 1) for action in ["auth.login", *ACTIONS])


def test_logins_and_logouts_are_counted(site: Site) -> None:
    """Of who is in; who comes with the wrong password is denied, by his address."""
    for _ in range(2):
        assert browser(site, "root").post("/api/auth/logout").status_code == 204
    browser(site, "eve", "wrong").post("/api/auth/logout")
    assert sorted(told(site)) == [
        ("", "auth.login unauthorized", "denied", 1),
        ("root", "auth.login", "noted", 2),
        ("root", "auth.logout", "noted", 2),
    ]
    assert "wrong" not in str(site.services.audit.page(100))


def test_what_is_beyond_a_limit_is_counted(site: Site) -> None:
    """By address and minute, whether the limit is that of a tier or of logins."""
    environ = {"REMOTE_ADDR": "198.51.100.1"}
    statuses = [site.get(PRICE, environ_overrides=environ).status_code for _ in range(LIMIT + 4)]
    assert statuses == [200] * LIMIT + [429] * 4
    page = site.services.audit.page(10)
    (event,) = page.open
    assert (event.outcome, event.count, event.address) == ("limited", 4, "198.51.100.1")
    assert event.target == f"GET {PRICE}"


def test_too_many_logins_are_counted(site: Site) -> None:
    """With the route, apart from those that were wrong."""
    clients = [browser(site, "nobody", "wrong") for _ in range(PER_ACCOUNT + 2)]
    assert [client.status for client in clients] == [401] * PER_ACCOUNT + [429] * 2
    assert told(site) == [
        ("", "auth.login unauthorized", "denied", PER_ACCOUNT),
        ("", "auth.login too many requests", "limited", 2),
    ]
