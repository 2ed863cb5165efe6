"""What admins do over HTTP happens, is in the audit before it does, and without the audit does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from cache_ext import MISS
from cache_ext.testing import FakeClock
from shivx.accounts.commands.accounts import account_commands
from shivx.app import create_app
from shivx.gate import anonymous
from shivx.identity import Caller, Tier, Via
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for

AUDIT, INVALIDATE, FLUSH = "/api/admin/audit", "/api/admin/cache/invalidate", "/api/admin/cache/flush"
PRICE = "/api/market/price/BTC-USDC"
TAG = "pair:scripted:BTC-USDC"
ADMIN = Caller(Tier.ADMIN, "account:1", Via.SESSION, 1, "root", frozenset({"admin"}))
NOBODY = Caller(Tier.PREMIUM, "account:3", Via.KEY, 3, "bob", frozenset({"read"}), 7)
FROM = {"REMOTE_ADDR": "203.0.113.9"}
ID = {"X-Request-ID": "the-request"}


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application with an empty audit."""
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as opened:
        yield opened


def ask(site: Site, path: str, body: Any = None, caller: Caller | None = ADMIN) -> Any:
    """Ask as *caller*; POST if there is a body."""
    gate = site.app.wsgi_app._app  # behind the envelope
    gate._identify = lambda environ: anonymous(environ) if caller is None else caller
    method = "GET" if body is None else "POST"
    return site.client.open(path, method=method, json=body, headers=ID, environ_overrides=FROM)


def entries(site: Site) -> list[dict[str, Any]]:
    """Return what the audit shows, newest first."""
    return ask(site, AUDIT).json["entries"]


def told(site: Site) -> list[tuple[str, str, str]]:
    """Return action, target and outcome of what is in the chain, oldest first."""
    rows = [entry for entry in entries(site) if entry["number"] is not None]
    return [(row["action"], row["target"], row["outcome"]) for row in reversed(rows)]


def spoil(site: Site, statement: str = "ALTER TABLE audit_head RENAME TO away") -> None:
    """Take from the audit what it cannot do without."""
    site.services.access.database.write(lambda session: session.execute(text(statement)))


def price_outcome(site: Site) -> str:
    """Return whether a price comes from the cache."""
    return site.get(PRICE).headers["X-Cache"]


def test_an_invalidation_happens_and_is_recorded_before_and_after(site: Site) -> None:
    """By tag; the audit says who, from where, what, how it went, and in which request."""
    assert [price_outcome(site), price_outcome(site)] == ["MISS", "HIT"]
    answer = ask(site, INVALIDATE, {"tags": [TAG]})
    assert answer.json == {"dry_run": False, "outcome": "done", "tags": [TAG]}
    assert price_outcome(site) == "MISS"
    done, intended = entries(site)
    assert (intended["outcome"], done["outcome"], done["of"]) == ("intended", "done", intended["number"])
    for entry in (done, intended):
        assert (entry["action"], entry["target"]) == ("cache.invalidate", f"tags: {TAG}")
        assert (entry["account"], entry["name"], entry["tier"], entry["via"]) == (
            1,
            "root",
            "admin",
            "session",
        )
        assert (entry["address"], entry["request_id"]) == ("203.0.113.9", "the-request")
        assert entry["at"].endswith("Z")


def test_keys_are_deleted(clock: FakeClock) -> None:
    """By name."""
    with open_site(settings_for(), ScriptedExchange(clock)) as site:
        site.services.cache.set("k", 1, ttl=60)
        assert site.services.cache.get("k") == 1
        assert ask(site, INVALIDATE, {"keys": ["k", "k"]}).json["keys"] == ["k"]
        assert site.services.cache.get("k") is MISS


def test_a_dry_run_changes_nothing_and_counts(site: Site) -> None:
    """It is a read: no intent is recorded. The price is counted, and the answer that was made of it."""
    price_outcome(site)
    answer = ask(site, INVALIDATE, {"tags": [TAG], "dry_run": True}).json
    assert (answer["dry_run"], answer["matched"]) == (True, 2)
    assert price_outcome(site) == "HIT"
    assert [(entry["action"], entry["outcome"]) for entry in entries(site)] == [
        ("cache.invalidate_preview", "read")
    ]


def test_a_flush_empties_the_cache_and_says_why(site: Site) -> None:
    """The reason is in the audit."""
    price_outcome(site)
    answer = ask(site, FLUSH, {"reason": "a bad deploy"})
    assert answer.json == {"outcome": "done", "cache": "all"}
    assert price_outcome(site) == "MISS"
    assert told(site) == [
        ("cache.flush", "all: a bad deploy", "intended"),
        ("cache.flush", "all: a bad deploy", "done"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status", "parameter"),
    [
        (INVALIDATE, {}, 400, "tags"),
        (INVALIDATE, {"tags": ["a"], "keys": ["b"]}, 400, "tags"),
        (INVALIDATE, {"tags": []}, 400, "tags"),
        (INVALIDATE, {"tags": "a"}, 400, "tags"),
        (INVALIDATE, {"tags": ["a\x00"]}, 400, "tags"),
        (INVALIDATE, {"keys": ["é" * 1000]}, 400, "keys"),
        (INVALIDATE, {"keys": ["k"] * 101}, 400, "keys"),
        (INVALIDATE, {"keys": ["k"], "more": 1}, 400, "body"),
        (INVALIDATE, {"keys": ["k"], "dry_run": "yes"}, 400, "dry_run"),
        (INVALIDATE, {"paths": ["api/market/pairs"]}, 400, "paths"),
        (INVALIDATE, {"paths": ["https://other.example/api/market/pairs"]}, 400, "paths"),
        (INVALIDATE, {"paths": [PRICE, "//other.example" + PRICE]}, 400, "paths"),
        (FLUSH, {}, 400, "body"),
        (FLUSH, {"reason": ""}, 400, "reason"),
        (FLUSH, {"reason": "x", "cache": "price"}, 400, "cache"),
        (FLUSH, {"reason": "x" * 201}, 400, "reason"),
        (AUDIT + "?limit=501", None, 400, "limit"),
        (AUDIT + "?cursor=x", None, 400, "cursor"),
        (FLUSH + "?cache=x", {"reason": "x"}, 400, "cache"),
    ],
)
def test_what_makes_no_sense_is_refused_and_does_nothing(
    site: Site, path: str, body: Any, status: int, parameter: str | None
) -> None:
    """With the problem's name; nothing is recorded as intended."""
    price_outcome(site)
    answer = ask(site, path, body)
    assert answer.status_code == status
    assert [error["parameter"] for error in answer.json["errors"]] == ([parameter] if parameter else [])
    assert price_outcome(site) == "HIT"
    assert told(site) == []


def test_the_responses_of_a_path_are_invalidated(site: Site) -> None:
    """Those of this path and query alone, whoever stored them; the facts that they show stay."""

    def origin(path: str) -> str:
        return site.get(path).headers["Cache-Status"].split(";")[1].strip()

    paths = [PRICE, PRICE + "?numbers=string", PRICE.replace("BTC", "ETH")]
    assert [origin(path) for path in paths * 2] == ["fwd=uri-miss"] * 3 + ["hit"] * 3
    assert ask(site, INVALIDATE, {"paths": paths[:1], "dry_run": True}).json["matched"] == 1
    assert origin(PRICE) == "hit"
    assert ask(site, INVALIDATE, {"paths": paths[:1]}).json == {
        "dry_run": False,
        "outcome": "done",
        "paths": paths[:1],
    }
    assert [origin(path) for path in paths] == ["fwd=uri-miss", "hit", "hit"]
    assert told(site)[-1] == ("cache.invalidate", f"paths: {PRICE}", "done")
    assert ask(site, INVALIDATE, {"paths": paths[:1]}, NOBODY).status_code == 403
    assert origin(PRICE) == "hit"


@pytest.mark.parametrize(("path", "body"), [(INVALIDATE, {"tags": [TAG]}), (FLUSH, {"reason": "x"})])
def test_without_an_audit_nothing_is_done_and_the_market_goes_on(site: Site, path: str, body: Any) -> None:
    """503 with Retry-After; prices come as before; a denial is a denial still, and is recorded afterwards."""
    price_outcome(site)
    spoil(site)
    answer = ask(site, path, body)
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert price_outcome(site) == "HIT"
    assert site.get("/api/market/trades/BTC-USDC").status_code == 200
    assert ask(site, path, body, NOBODY).status_code == 403
    assert ask(site, path, body, None).status_code == 401
    spoil(site, "ALTER TABLE away RENAME TO audit_head")
    assert {(entry["subject"], entry["outcome"]) for entry in entries(site)} >= {
        ("account:3", "denied"),
        ("address:203.0.113.9", "denied"),
    }
    assert told(site) == []


def test_without_a_database_the_audit_is_not_shown(site: Site) -> None:
    """503 too."""
    assert ask(site, AUDIT).status_code == 200
    spoil(site, "DROP TABLE audit")
    assert ask(site, AUDIT).status_code == 503


def test_denials_are_recorded_whoever_decides(site: Site) -> None:
    """By the rights of a view, by a token, by the guard: each with its route, its path and its count."""
    for _ in range(3):
        assert ask(site, FLUSH, {"reason": "x"}, NOBODY).status_code == 403
    assert site.get("/metrics", environ_overrides=FROM, headers=ID).status_code == 401
    denied = {entry["action"]: entry for entry in entries(site) if entry["outcome"] == "denied"}
    flush = denied["admin.flush forbidden"]
    assert (flush["count"], flush["target"], flush["account"], flush["key"]) == (3, f"POST {FLUSH}", 3, 7)
    assert (flush["address"], flush["request_id"]) == ("203.0.113.9", "the-request")
    metrics = denied["operations.metrics unauthorized"]
    assert (metrics["count"], metrics["subject"]) == (1, "address:203.0.113.9")


def test_reads_of_admins_are_counted(site: Site) -> None:
    """One entry a minute for a reader, which counts."""
    for _ in range(3):
        ask(site, AUDIT)
    (read,) = entries(site)
    assert (read["action"], read["outcome"], read["count"], read["account"]) == ("admin.read", "read", 3, 1)


def test_the_list_has_pages(site: Site) -> None:
    """Each row once, the newest first; a cursor of another list is refused."""
    for number in range(3):
        ask(site, FLUSH, {"reason": str(number)})
    seen: list[int] = []
    path = f"{AUDIT}?limit=4"
    while path:
        page = ask(site, path).json
        seen += [entry["number"] for entry in page["entries"] if entry["number"] is not None]
        path = f"{AUDIT}?limit=4&cursor={page['next']}" if page["next"] else ""
    assert seen == [6, 5, 4, 3, 2, 1]


def test_nobody_keeps_what_admins_see(site: Site) -> None:
    """no-store on every answer."""
    assert ask(site, AUDIT).headers["Cache-Control"] == "no-store"
    assert ask(site, FLUSH, {"reason": "x"}).headers["Cache-Control"] == "no-store"


def run(site: Site, *words: str) -> Any:
    """Run ``flask accounts audit``."""
    return create_app(site.services.settings).test_cli_runner().invoke(args=["accounts", "audit", *words])


def test_the_command_shows_and_verifies(site: Site) -> None:
    """Rows for people or as JSON; whole exits with 0."""
    assert "audit" in account_commands().commands
    ask(site, FLUSH, {"reason": "x"})
    shown = run(site)
    assert "root from 203.0.113.9: cache.flush done (of 1)" in shown.output
    (first, _) = [json.loads(line) for line in run(site, "--json").output.splitlines()]
    assert first["event"]["action"] == "cache.flush"
    verified = run(site, "--verify")
    assert (verified.exit_code, verified.output.split(";")[0]) == (0, "2 rows, whole")


def test_the_command_shows_rows_whatever_is_counted(site: Site) -> None:
    """What is open does not take their place."""
    ask(site, FLUSH, {"reason": "x"})
    assert ask(site, FLUSH, {"reason": "x"}, NOBODY).status_code == 403
    assert "cache.flush done" in run(site, "--limit", "1").output


def test_the_command_finds_what_was_done_to_the_audit(site: Site) -> None:
    """It says which row, and exits with 1."""
    ask(site, FLUSH, {"reason": "x"})
    spoil(site, "UPDATE audit SET target = 'nothing' WHERE number = 1")
    verified = run(site, "--verify")
    assert verified.exit_code == 1
    assert "row 1 was changed" in verified.output
    spoil(site, "DELETE FROM audit WHERE number = 2")
    assert "row 2 is cut off" in run(site, "--verify").output
    assert json.loads(run(site, "--verify", "--json").output)["findings"]


def test_the_command_says_that_it_cannot(site: Site) -> None:
    """One line, and an exit code that is no success."""
    assert run(site, "--verify").exit_code == 0
    spoil(site, "DROP TABLE audit")
    found = run(site, "--verify")
    assert found.exit_code == 1
    assert "Traceback" not in found.output
