"""Work that blocks its thread, done where it stops nobody else.

Under gevent all requests of a worker share one thread, the hub's; what blocks goes to the hub's pool of
native threads, and the greenlet that asked waits. Elsewhere the caller's thread is his own.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_AWAY: ContextVar[bool] = ContextVar("shivx_off_hub", default=False)


class _Outcome(Generic[T]):
    """What became of work in another thread: gevent's pool would print an exception before raising it."""

    def __init__(self, context: Context, work: Callable[[], T]) -> None:
        self._result: list[T] = []
        self._error: BaseException | None = None
        try:
            context.run(_AWAY.set, True)
            self._result.append(context.run(work))
        except BaseException as error:  # noqa: BLE001 (raised again where it was asked for)
            self._error = error

    def get(self) -> T:
        """Return the result, or raise what was raised."""
        try:
            if self._error is not None:
                raise self._error
            return self._result[0]
        finally:
            self._error = None  # else its traceback would lead back to it


def off_hub(work: Callable[[], T]) -> T:
    """Return what *work* returns, without stopping other greenlets meanwhile."""
    threadpool = _hub_threadpool()
    if threadpool is None:
        return work()
    outcome: _Outcome[T] = threadpool.apply(_Outcome, (copy_context(), work))
    return outcome.get()


def later(work: Callable[[], object], name: str) -> None:
    """Let *work* be done while the caller goes on; what it raises is the interpreter's to report.

    Under gevent it is done in a greenlet of the hub: locks that it shares with requests are at home there,
    and taken in a native thread as well they may never be given on. What blocks it takes to `off_hub` itself.

    Args:
        name: of the thread.
    """
    threading.Thread(target=work, name=name, daemon=True).start()


def _hub_threadpool() -> Any | None:
    """Return the hub's pool if threads are greenlets here; None too in a thread of that pool."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading") or _AWAY.get():
        return None
    return sys.modules["gevent"].get_hub().threadpool
