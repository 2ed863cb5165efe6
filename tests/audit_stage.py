"""The audit on a real database in a folder, and somebody who can do there what the service would not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import Table, delete, insert, select, text, update

from shivx.accounts.database import Database, open_database
from shivx.audit.audit import Audit
from shivx.audit.events import Outcome
from shivx.audit.tables import chain
from shivx.config import Settings
from shivx.identity import Caller, Tier, Via

OLD, NEW = "o" * 32, "n" * 32
ADMIN = Caller(Tier.ADMIN, "account:1", Via.SESSION, 1, "root", frozenset({"admin"}))
STRANGER = Caller(Tier.ANONYMOUS, "address:203.0.113.7")
HERE = ("request-1", "203.0.113.7")
START = 1_800_000_000.0
"""Unix seconds; begins a minute."""


class Books:
    """The audit of one process."""

    def __init__(self, audit: Audit, database: Database, folder: Path) -> None:
        self.audit = audit
        self.database = database
        self.folder = folder

    def write(self, *actions: str) -> None:
        """Append a row for each of *actions*."""
        for action in actions:
            self.audit.record(ADMIN, action, "target", Outcome.DONE, *HERE)

    def deny(self, caller: Caller = STRANGER, action: str = "admin.flush", times: int = 1) -> None:
        """Record denials, and wait until they are written."""
        for _ in range(times):
            self.audit.record(caller, action, "/api/admin/x", Outcome.DENIED, *HERE)
        self.audit.flush()

    def rows(self, table: Table = chain) -> list[dict[str, Any]]:
        """Return what *table* holds, in order."""
        query = select(table).order_by(*table.primary_key.columns)
        return self.database.read(lambda session: [dict(row) for row in session.execute(query).mappings()])

    def tamper(self, statement: Any) -> None:
        """Do as somebody does who has the database's password, but neither keys nor folder."""
        self.database.write(lambda session: session.execute(statement))

    def put(self, row: dict[str, Any]) -> None:
        """Write *row* in the place of that with its number."""
        self.tamper(delete(chain).where(chain.c.number == row["number"]))
        self.tamper(insert(chain).values(**row))

    def change(self, number: int, **values: Any) -> None:
        """Change columns of row *number*."""
        self.tamper(update(chain).where(chain.c.number == number).values(**values))

    def remove(self, *numbers: int) -> None:
        """Remove rows."""
        self.tamper(delete(chain).where(chain.c.number.in_(numbers)))

    def sql(self, statement: str) -> None:
        """Run any statement."""
        self.tamper(text(statement))

    def findings(self) -> list[tuple[int | None, str]]:
        """Return what `verify` finds."""
        return [(finding.number, finding.text) for finding in self.audit.verify().findings]


@contextmanager
def open_books(
    folder: Path,
    *,
    keys: Sequence[str] = (OLD,),
    clock: Callable[[], float] = lambda: START,
    url: str | None = None,
) -> Iterator[Books]:
    """Open the audit of a process whose files are in *folder*, its database too unless *url* is given."""
    given = {} if url is None else {"database_url": url}
    settings = Settings(instance_dir=folder, secret_keys=tuple(keys), **given)
    database = open_database(Flask("books"), settings)
    database.upgrade()
    audit = Audit(database, keys, folder, clock)
    try:
        yield Books(audit, database, folder)
    finally:
        audit.close()
        database.close()
