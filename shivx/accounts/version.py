"""The version of the tables that this program needs, and whether a database has it, without Alembic."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

NEEDED = "0002"
"""The last of the migrations."""
_TABLE = "alembic_version"


def is_current(connection: Connection) -> bool:
    """Tell whether the tables are exactly those of this program; what else they are, Alembic knows."""
    if not inspect(connection).has_table(_TABLE):
        return False
    return connection.scalars(text(f"SELECT version_num FROM {_TABLE}")).all() == [NEEDED]  # noqa: S608
