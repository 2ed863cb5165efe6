"""The databases that are served, SQLite and PostgreSQL: how each is opened and made fit for many workers."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError

from shivx.accounts.idle_pool import IdlePool
from shivx.errors import ConfigurationError, DatabaseUnavailable

BUSY_SECONDS = 5.0
"""How long one statement may wait: for SQLite's one writer, for a lock or an answer of PostgreSQL."""
WRITES = "shivx_writes"
"""The execution option that marks a connection whose transaction writes."""
_RECYCLE_SECONDS = 1800.0
"""Firewalls forget connections that are idle for hours."""


def read_url(text: str) -> URL:
    """Return the URL of the database, with the driver that is installed.

    Raises:
        ConfigurationError: it is of another database, or no URL.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigurationError("SHIVX_DATABASE_URL: must be an SQLAlchemy URL") from None
    name, _, driver = url.drivername.partition("+")
    if name == "sqlite" and driver in {"", "pysqlite"}:
        if url.database in {None, "", ":memory:"} or url.query:
            raise ConfigurationError("SHIVX_DATABASE_URL: SQLite needs a plain file, sqlite:///PATH")
        path = Path(url.database or "").absolute()
        return url.set(drivername="sqlite", database=str(path))
    if name in {"postgresql", "postgres"} and driver in {"", "psycopg"}:
        return url.set(drivername="postgresql+psycopg")
    raise ConfigurationError("SHIVX_DATABASE_URL: must begin with sqlite:/// or postgresql://")


def engine_options(url: URL) -> dict[str, Any]:
    """Return what Flask-SQLAlchemy is to make the engine for *url* with."""
    options: dict[str, Any] = {"poolclass": IdlePool, "hide_parameters": True}
    if is_sqlite(url):
        # isolation_level None: transactions begin where SQLAlchemy says, not where the driver guesses.
        rules = {"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False}
        return options | {"connect_args": rules}
    own: dict[str, Any] = {
        "connect_timeout": int(BUSY_SECONDS),
        "tcp_user_timeout": int(BUSY_SECONDS * 1000),
        "application_name": "shivx",
        "options": f"-c statement_timeout={int(BUSY_SECONDS * 1000)}",
    }
    given = {name: value for name, value in own.items() if name not in url.query}
    return options | {"connect_args": given, "pool_pre_ping": True, "pool_recycle": _RECYCLE_SECONDS}


def is_sqlite(url: URL) -> bool:
    """Tell which of the two it is."""
    return url.drivername == "sqlite"


def outfit(engine: Engine) -> None:
    """Let each connection of *engine* keep the rules that SQLite leaves to its users."""
    if is_sqlite(engine.url):
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)


def lay_out_file(url: URL) -> None:
    """Make SQLite's file, for its owner only, in the mode in which readers and a writer do not meet (WAL).

    Safe among many processes: the mode can change only while nobody else has the file open, so one does it
    and the others wait.

    Raises:
        OSError, DatabaseUnavailable: it cannot be made.
    """
    path = Path(url.database or "")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    turn = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not path.exists():  # to close it takes SQLite's locks from this process' connections
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise DatabaseUnavailable(f"the database gave no usable answer: {type(error).__name__}") from error
    finally:
        os.close(turn)


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    """Begin a transaction; one that writes takes its turn now: halfway it could only fail."""
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
