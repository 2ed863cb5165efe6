"""What differs where gevent has put greenlets in the place of threads."""

from __future__ import annotations

import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol


def has_greenlets() -> bool:
    """Tell whether threads are greenlets here, which run until they wait for something."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def give_way() -> None:
    """Let those run who can."""
    time.sleep(0)


def system_poll() -> Any:
    """Return the system's poll object; gevent's lets others run while it waits, which takes far longer."""
    monkey = sys.modules.get("gevent.monkey")
    return select.poll() if monkey is None else monkey.get_original("select", "poll")()


class Sleeper(Protocol):
    """One who sleeps until somebody wakes him, be it before he falls asleep. Once."""

    def sleep(self, seconds: float) -> bool:
        """Sleep for that long at most; return whether somebody has woken him."""

    def wake(self) -> None:
        """Let him go on. Anybody may, from any thread."""


class _Thread:
    """A sleeper who is a thread: a lock costs a fraction of an event."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def sleep(self, seconds: float) -> bool:
        return self._lock.acquire(timeout=seconds)

    def wake(self) -> None:
        if self._lock.locked():
            self._lock.release()


def sleepers() -> Callable[[], Sleeper]:
    """Return what makes a sleeper of who is to sleep."""
    if not has_greenlets():
        return _Thread
    from gevent.hub import Waiter, get_hub  # noqa: PLC0415 - is there already

    class Greenlet:
        """A sleeper who is a greenlet: gevent's lock with a timeout takes four times as long."""

        __slots__ = ("_hub", "_waiter")

        def __init__(self) -> None:
            self._hub = get_hub()
            self._waiter = Waiter(self._hub)

        def sleep(self, seconds: float) -> bool:
            timer = self._hub.loop.timer(seconds)
            timer.start(self._waiter.switch, False)
            try:
                return bool(self._waiter.get())
            finally:
                timer.stop()
                timer.close()

        def wake(self) -> None:
            loop = self._hub.loop
            run = loop.run_callback if get_hub() is self._hub else loop.run_callback_threadsafe
            run(self._waiter.switch, True)

    return Greenlet
