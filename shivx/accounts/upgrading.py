"""Versions of the tables: which the database has, which this program needs, and the way from one to other."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from shivx.accounts.dialects import is_sqlite, lay_out_file
from shivx.errors import ConfigurationError

_log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
_TURN = 0x53484958
"""The number of PostgreSQL's advisory lock that an upgrade holds."""


class Versions:
    """The versions that this program knows, and the last of them, which it needs."""

    def __init__(self) -> None:
        self.config = Config()
        self.config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        self.config.set_main_option("path_separator", "os")
        self._scripts = ScriptDirectory.from_config(self.config)
        self.needed = self._scripts.get_current_head() or ""

    def behind(self, connection: Connection) -> bool:
        """Tell whether the tables of a database are older than this program needs.

        Those of a newer one are not: while hosts are updated one after another, programs of both versions
        work on them. So a migration may add what the version before it does not need, no more.
        """
        version = MigrationContext.configure(connection).get_current_revision()
        if version is None:
            return True
        try:
            self._scripts.get_revision(version)
        except CommandError:
            _log.warning("the database is of a newer ShivX, version %r", version)
            return False
        return version != self.needed


def make_current(engine: Engine) -> str:
    """Upgrade the tables if they are out of date; return the name of the version that this program needs.

    Safe among many processes: they take turns, and who comes second finds nothing to do. All steps are one
    transaction.

    Args:
        engine: one whose transactions write.
    """
    sqlite = is_sqlite(engine.url)
    if sqlite:
        lay_out_file(engine.url)
    versions = Versions()
    with engine.begin() as connection:
        if not sqlite:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
        if versions.behind(connection):
            versions.config.attributes["connection"] = connection
            command.upgrade(versions.config, versions.needed)
    return versions.needed


def require_current(engine: Engine) -> None:
    """Do nothing if the tables are those of this program, or of a newer one.

    Raises:
        ConfigurationError: they are out of date; the message says what to do.
    """
    versions = Versions()
    with engine.connect() as connection:
        behind = versions.behind(connection)
    if behind:
        raise ConfigurationError("SHIVX_DATABASE_URL: the database is out of date; run: flask db upgrade")
