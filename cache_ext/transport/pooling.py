"""How the pool hands out connections: no longer than the budget lasts, and seeing to the server first."""

from __future__ import annotations

from collections.abc import Callable
from queue import LifoQueue
from typing import Any

from cache_ext.transport.budget import current_budget


class PatientQueue(LifoQueue[Any]):
    """The pool's free connections; a request waits for one no longer than its budget lasts."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return a free connection, None for a place where one may be made."""
        spending = current_budget()
        if spending is not None:
            timeout = max(0.0, spending.left) if timeout is None else min(timeout, max(0.0, spending.left))
        return super().get(block, timeout)


def guarded(base: type[Any], before: Callable[[Any], None]) -> type[Any]:
    """Return *base*, a connection class, with *before* called on it ahead of each new socket."""

    class GuardedConnection(base):  # type: ignore[misc]
        def connect(self) -> None:
            if not self.is_connected:
                before(self)
            super().connect()

    return GuardedConnection
