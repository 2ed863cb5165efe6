"""``flask db upgrade``."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from shivx.accounts.commands.opening import opened_access


def database_commands() -> AppGroup:
    """Return the commands about the database, for ``app.cli.add_command``."""
    group = AppGroup("db", help="Look after the database.")
    group.command("upgrade")(upgrade)
    return group


def upgrade() -> None:
    """Bring the tables up to what this program needs; SQLite's are brought up by themselves."""
    with opened_access() as access:
        click.echo(f"the database has version {access.database.upgrade()}")
