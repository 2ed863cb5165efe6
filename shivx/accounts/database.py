"""The database: transactions that stop no other request, and its failures as one error."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.orm import Session

from shivx.accounts.dialects import (
    BUSY_SECONDS,
    WRITES,
    engine_options,
    is_sqlite,
    lay_out_file,
    outfit,
    read_url,
)
from shivx.accounts.models import Base
from shivx.accounts.offload import off_hub
from shivx.accounts.version import is_current
from shivx.config import Settings
from shivx.errors import DatabaseUnavailable

T = TypeVar("T")

AT_ONCE = 8
"""Transactions, and so connections, of one process at once; gevent's hub has ten threads for all purposes."""
_OURS = (IntegrityError, ProgrammingError, DataError, NotSupportedError)
"""Errors that say something of the statement, not of the server."""


class Database:
    """Runs transactions. Any thread or greenlet may ask; after a fork the child has connections of its own.

    Args:
        engine: of Flask-SQLAlchemy.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(**{WRITES: True})
        self._begin()
        myself = weakref.ref(self)

        def after_fork() -> None:
            if database := myself():
                database.engine.dispose(close=False)  # the parent's connections stay the parent's
                database._begin()

        os.register_at_fork(after_in_child=after_fork)

    def _begin(self) -> None:
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._turn = threading.Lock()
        self._ready = False
        self._closed = False

    def read(self, work: Callable[[Session], T]) -> T:
        """Return what *work* finds, in one transaction.

        Args:
            work: asks the session, and returns plain data: rows are of no use when it is over.
        Raises:
            DatabaseUnavailable: no usable answer.
            ConfigurationError: the tables are out of date; see `prepare`.
        """
        return self._run(lambda: self._transact(self.engine, work))

    def write(self, work: Callable[[Session], T]) -> T:
        """Return what *work* returns, when what it changed is committed.

        Raises:
            IntegrityError: of sqlalchemy: a constraint forbids it.
            DatabaseUnavailable, ConfigurationError: as for `read`.
        """
        return self._run(lambda: self._transact(self._writing, work))

    def prepare(self) -> None:
        """See that the tables are those of this program; SQLite's are made or upgraded.

        Raises:
            ConfigurationError: PostgreSQL is out of date.
            DatabaseUnavailable: no usable answer.
        """
        if self._ready:
            return
        with self._turn:
            if not self._ready:
                self._check()
                self._ready = True

    def upgrade(self) -> str:
        """Bring the tables up to this program's version, and return its name.

        Raises:
            DatabaseUnavailable: no usable answer.
        """
        from shivx.accounts.upgrading import make_current  # noqa: PLC0415 - see `_check`

        return off_hub(lambda: _translated(lambda: make_current(self._writing)))

    def close(self) -> None:
        """Let transactions under way end, and close all connections; nobody gets in any more."""
        self._closed = True
        taken = sum(self._places.acquire(timeout=BUSY_SECONDS) for _ in range(AT_ONCE))
        self.engine.dispose()
        for _ in range(taken):
            self._places.release()

    def _check(self) -> None:
        """Do as `prepare` says; Alembic, which takes a tenth of a second to load, only if it is needed."""
        if off_hub(lambda: _translated(self._is_current)):
            return
        if is_sqlite(self.engine.url):
            self.upgrade()
            return
        from shivx.accounts.upgrading import require_current  # noqa: PLC0415 - see above

        off_hub(lambda: _translated(lambda: require_current(self.engine)))

    def _is_current(self) -> bool:
        if is_sqlite(self.engine.url):
            lay_out_file(self.engine.url)
        with self.engine.connect() as connection:
            return is_current(connection)

    def _run(self, work: Callable[[], T]) -> T:
        self.prepare()
        if self._closed or not self._places.acquire(timeout=BUSY_SECONDS):
            raise DatabaseUnavailable("the database is closed, or too many wait for it")
        try:
            if self._closed:  # meanwhile
                raise DatabaseUnavailable("the database is closed")
            return off_hub(lambda: _translated(work))
        finally:
            self._places.release()

    @staticmethod
    def _transact(engine: Engine, work: Callable[[Session], T]) -> T:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            return work(session)


def open_database(app: Flask, settings: Settings) -> Database:
    """Give *app* the database of *settings*. Nothing is connected yet.

    Raises:
        ConfigurationError: the URL is not of SQLite or PostgreSQL.
    """
    url = read_url(settings.database_url.get_secret_value())
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(url)
    tables = SQLAlchemy(app, model_class=Base)
    with app.app_context():
        engine = tables.engine
    outfit(engine)
    return Database(engine)


def _translated(work: Callable[[], T]) -> T:
    """Return what *work* returns; tell the failures of the server from those of the statement.

    Raises:
        DatabaseUnavailable: it was the server, its disk or the way there.
    """
    try:
        return work()
    except _OURS:
        raise
    except (DBAPIError, OSError) as error:
        raise DatabaseUnavailable(f"the database gave no usable answer: {type(error).__name__}") from error
