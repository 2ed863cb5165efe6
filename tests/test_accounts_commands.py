"""``flask accounts …`` and ``flask db upgrade``: what an operator types, and what it answers."""

from __future__ import annotations

import json

import pytest

from shivx.accounts.key_text import digest_of
from shivx.accounts.upgrading import Versions
from shivx.app import create_app
from tests.accounts_stage import PASSWORD, sqlite_url
from tests.market_stage import settings_for


@pytest.fixture
def empty_database_url(tmp_path):
    """What does not depend on the database is shown on one kind."""
    return sqlite_url(tmp_path)


@pytest.fixture
def flask(database_url):
    """Run ``flask WORDS`` in a process of its own, as far as the application knows; return its result."""

    def run(*words, stdin=""):
        app = create_app(settings_for(database_url=database_url))
        return app.test_cli_runner().invoke(args=words, input=stdin)

    return run


def made(flask, name="alice", tier="premium"):
    """Make an account."""
    result = flask("accounts", "create", name, "--tier", tier, "--password-stdin", stdin=PASSWORD + "\n")
    assert result.exit_code == 0, result.output


def test_an_account_is_made_and_listed(flask):
    """For people and for programs."""
    made(flask, "Alice")
    made(flask, "bob", "admin")
    shown = [json.loads(line) for line in flask("accounts", "list", "--json").output.splitlines()]
    assert [(each["name"], each["tier"], each["state"]) for each in shown] == [
        ("alice", "premium", "enabled"),
        ("bob", "admin", "enabled"),
    ]
    assert "alice" in flask("accounts", "list").output


def test_a_service_needs_no_password(flask):
    """It comes with keys."""
    assert flask("accounts", "create", "bot", "--tier", "service").exit_code == 0


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        (("create", "bob", "--tier", "root", "--password-stdin"), PASSWORD, 2),
        (("create", "bob", "--tier", "anonymous", "--password-stdin"), PASSWORD, 2),
        (("create", "bob"), PASSWORD, 2),
        (("create", "bob", "--tier", "admin"), PASSWORD, 2),
        (("create", "bob", "--tier", "admin", "--password-stdin"), "short", 1),
        (("create", "bob", "--tier", "admin", "--password-stdin"), "x" * 100_000, 1),
        (("create", "b\x1bob", "--tier", "admin", "--password-stdin"), PASSWORD, 1),
        (("create", "alice", "--tier", "admin", "--password-stdin"), PASSWORD, 1),
        (("disable", "nobody"), "", 1),
        (("logout", "nobody"), "", 1),
        (("tier", "nobody", "admin"), "", 1),
        (("passwd", "nobody", "--password-stdin"), PASSWORD, 1),
        (("keys", "create", "nobody"), "", 1),
        (("keys", "create", "alice", "--scope", "admin"), "", 1),
        (("keys", "create", "alice", "--expires", "tomorrow"), "", 2),
        (("keys", "create", "alice", "--expires", "2001-01-01T00:00:00Z"), "", 1),
        (("keys", "revoke", "4711"), "", 1),
        (("keys", "list", "nobody"), "", 1),
    ],
)
def test_what_cannot_be_ends_with_one_line(flask, words, stdin, code):
    """No traceback, no password, nothing changed."""
    made(flask)
    result = flask("accounts", *words, stdin=stdin)
    assert result.exit_code == code
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output
    assert PASSWORD not in result.output
    assert "Error: " in result.output
    assert len(flask("accounts", "list").output.splitlines()) == 1


def test_every_change_is_made(flask):
    """Disabled, enabled, other rights, another password, sessions ended."""
    made(flask)

    def shown():
        return json.loads(flask("accounts", "list", "--json").output)

    assert flask("accounts", "disable", "alice").exit_code == 0
    assert shown()["state"] == "disabled"
    assert flask("accounts", "disable", "alice", "--undo").exit_code == 0
    assert shown()["state"] == "enabled"
    assert flask("accounts", "tier", "alice", "admin").exit_code == 0
    assert shown()["tier"] == "admin"
    assert flask("accounts", "passwd", "alice", "--password-stdin", stdin="another password").exit_code == 0
    assert flask("accounts", "logout", "alice").exit_code == 0


def test_a_key_is_printed_once_alone(flask):
    """So that a program can keep it: all else goes to standard error."""
    made(flask)
    result = flask("accounts", "keys", "create", "alice", "--name", "my bot", "--scope", "read")
    key = result.stdout.removesuffix("\n")
    assert digest_of(key) is not None
    assert key not in result.stderr
    listed = flask("accounts", "keys", "list", "alice").output
    assert key not in listed
    assert "my bot" in listed
    number = listed.split()[0]
    assert flask("accounts", "keys", "revoke", number).exit_code == 0
    assert flask("accounts", "keys", "list", "alice").output == ""


def test_the_password_of_an_account_is_asked_for_on_a_terminal_only(flask):
    """A pipe that was forgotten is no password."""
    result = flask("accounts", "passwd", "alice", stdin=PASSWORD)
    assert result.exit_code == 2
    assert "--password-stdin" in result.output


def test_the_database_is_upgraded_by_hand(flask):
    """PostgreSQL needs it, SQLite does not mind; twice is harmless."""
    for _ in range(2):
        result = flask("db", "upgrade")
        assert (result.exit_code, result.output) == (0, f"the database has version {Versions().needed}\n")
