"""A connection pool without locks and waiting: whoever uses it bounds how many are used at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, Pool


class IdlePool(Pool):
    """Keeps the connections that nobody uses, and makes one when there is none.

    SQLAlchemy's own pool waits on locks, which gevent replaces by its own; those are at home in one thread,
    and database work runs in several (see `shivx.accounts.offload`). A deque needs none.
    """

    def __init__(self, creator: Callable[..., Any], **options: Any) -> None:
        super().__init__(creator, **options)
        self._idle: deque[ConnectionPoolEntry] = deque()

    def status(self) -> str:
        """Return how many connections wait to be used."""
        return f"{len(self._idle)} idle"

    def recreate(self) -> IdlePool:
        """Return a new, empty pool like this one."""
        return type(self)(
            self._creator,
            pre_ping=self._pre_ping,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    def dispose(self) -> None:
        """Close all connections that nobody uses."""
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return self._idle.pop()
        except IndexError:
            return self._create_connection()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self._idle.append(record)
