"""What operators change on the command line is in the audit, and does not happen without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest
from sqlalchemy import text

from cache_ext.testing import FakeClock
from shivx.app import create_app
from shivx.audit.shell import CHANGES
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for

READS = {
    "cache explain",
    "cache health",
    "cache stats",
    "accounts list",
    "accounts keys list",
    "accounts audit",
    "ml list",
    "db upgrade",  # what makes the audit's own tables
}
"""Commands that change nothing which an audit is about."""


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application."""
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as opened:
        yield opened


def run(site: Site, *words: str, given: str | None = None) -> Any:
    """Run a command, in an application of its own: it closes all when it ends."""
    return create_app(site.services.settings).test_cli_runner().invoke(args=words, input=given)


def told(site: Site) -> list[tuple[str, str, str]]:
    """Return action, target and outcome of the rows, oldest first."""
    rows = reversed(site.services.audit.page(50).rows)
    return [(row.event.action, row.event.target, row.event.outcome) for row in rows]


def leaves(group: click.Group, words: str) -> Iterator[str]:
    """Yield the words of each command in *group*."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{words}{name} ")
        else:
            yield words + name


def test_each_command_is_one_that_is_recorded_or_changes_nothing(site: Site) -> None:
    """A new one has to be put on one of the lists."""
    ours = {
        words for words in leaves(site.app.cli, "") if words.split()[0] in {"cache", "accounts", "db", "ml"}
    }
    assert ours == set(CHANGES) | READS


def test_making_an_account_is_recorded_without_its_password(site: Site) -> None:
    """Intent and outcome, with its name and tier, and who did it."""
    words = ("accounts", "create", "root", "--tier", "admin", "--password-stdin")
    assert run(site, *words, given="correct horse battery\n").exit_code == 0
    target = "name: root, tier_name: admin"
    assert told(site) == [("accounts.create", target, "intended"), ("accounts.create", target, "done")]
    (row, _) = site.services.audit.page(2).rows
    assert row.event.subject.startswith("operator:")
    assert row.event.address == "command line"


def test_what_failed_is_recorded_as_failed(site: Site) -> None:
    """A command about an account that there is not."""
    assert run(site, "accounts", "disable", "nobody").exit_code == 1
    assert [outcome for *_, outcome in told(site)] == ["intended", "failed"]


def test_flushing_is_recorded_and_a_dry_run_is_not(site: Site) -> None:
    """The reason stands in the audit."""
    assert run(site, "cache", "invalidate", "--tag", "x", "--dry-run").exit_code == 0
    assert told(site) == []
    assert run(site, "cache", "flush", "--reason", "a bad deploy").exit_code == 0
    assert told(site)[0] == ("cache.flush", "reason: a bad deploy", "intended")


def test_without_an_audit_nothing_is_done(site: Site) -> None:
    """It exits with 1, says why, and the account is as before."""
    words = ("accounts", "create", "root", "--tier", "admin", "--password-stdin")
    assert run(site, *words, given="correct horse battery\n").exit_code == 0
    site.services.access.database.write(lambda session: session.execute(text("DROP TABLE audit")))
    found = run(site, "accounts", "disable", "root")
    assert found.exit_code == 1
    assert "nothing was done" in found.output
    assert "enabled" in run(site, "accounts", "list").output
