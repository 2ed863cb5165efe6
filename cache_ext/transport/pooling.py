"""How the pool hands out connections: no longer than the budget lasts, and seeing to the server first."""

from __future__ import annotations

import select
from collections.abc import Callable
from queue import Empty, Full, LifoQueue
from typing import Any

from redis.connection import BlockingConnectionPool
from redis.utils import SENTINEL

from cache_ext.transport.budget import current_budget
from cache_ext.transport.greenlets import system_poll

_PLAIN_QUEUES = hasattr(LifoQueue(), "mutex")
"""Whether queues are the standard library's, whose parts are known; gevent puts its own in their place."""


class PatientQueue(LifoQueue[Any]):
    """The pool's free connections; a request waits for one no longer than its budget lasts."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return a free connection, None for a place where one may be made."""
        spending = current_budget()
        if spending is not None:
            timeout = max(0.0, spending.left) if timeout is None else min(timeout, max(0.0, spending.left))
        return super().get(block, timeout)

    def get_nowait(self) -> Any:
        """Return a free connection or place, if there is one at once."""
        if not _PLAIN_QUEUES:
            return super().get_nowait()
        with self.mutex:
            if not self.queue:
                raise Empty
            return self.queue.pop()

    def put_nowait(self, item: Any) -> None:
        """Take *item* back."""
        if not _PLAIN_QUEUES:
            super().put_nowait(item)
            return
        with self.mutex:
            if len(self.queue) >= self.maxsize:
                raise Full
            self.queue.append(item)
            self.not_empty.notify()


class SwiftPool(BlockingConnectionPool):
    """redis-py's pool, which hands out a connection that is at rest in a fifth of redis-py's time.

    The rest, say a connection that the server has closed, is left to redis-py. Its telemetry of pools does
    not count here; `Server.connections` does.
    """

    era = 0
    """Connections that were made in an earlier one lead to a server that has been replaced."""

    def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:
        """Return a connection that is connected and has nothing to read."""
        self._checkpid()
        try:
            connection = self.pool.get_nowait()
        except Empty:
            return self._made()
        if connection is not None:
            if connection.era == self.era and _is_at_rest(connection):
                return connection
            connection.disconnect()  # closed at the other end, or with a reply that somebody did not wait for
        self.pool.put_nowait(connection)
        return self._made()

    def _made(self) -> Any:
        return super().get_connection()  # type: ignore[no-untyped-call]

    def release(self, connection: Any) -> None:
        """Take *connection* back."""
        if connection.pid == self.pid and not connection.should_reconnect():
            try:
                self.pool.put_nowait(connection)
            except Full:
                return  # it was given back twice
        else:
            super().release(connection)  # type: ignore[no-untyped-call]


def _is_at_rest(connection: Any) -> bool:
    """Tell whether *connection* is open, and nothing that nobody asked for has come over it."""
    line = connection._sock
    if line is None:
        return False
    watch = connection.watch
    if watch is None or watch[0] is not line:
        poll = system_poll()
        poll.register(line, select.POLLIN)
        watch = connection.watch = line, poll.poll, getattr(line, "pending", _nothing)
    _, ready, pending = watch
    return not pending() and not ready(0)


def _nothing() -> int:
    """Return how many bytes a line without TLS has decrypted and not handed out yet."""
    return 0


def guarded(
    base: type[Any], before: Callable[[Any], None], receive: Callable[[Any, float], Any]
) -> type[Any]:
    """Return *base*, a connection class, that is ready within its time, or fails.

    Args:
        before: called with a connection ahead of each new socket; sets its ``greet_by``, a time.
        receive: returns the next reply on a connection, if it comes by such a time.
    """

    class GuardedConnection(base):  # type: ignore[misc]
        greet_by: float | None = None
        era = 0
        watch: tuple[Any, Callable[[int], Any], Callable[[], int]] | None = None

        def connect(self) -> None:
            if not self.is_connected:
                before(self)
            super().connect()

        def read_response(self, *args: Any, timeout: Any = SENTINEL, **options: Any) -> Any:
            """Wait, while hands are being shaken, no longer than that may take in all."""
            if timeout is SENTINEL and self.greet_by is not None:
                return receive(self, self.greet_by)
            return super().read_response(*args, timeout=timeout, **options)

    return GuardedConnection
