"""The least that going together costs: callers hand over to one another and do nothing else.

There is no bound on waiting, and nobody survives a leader's failure; `cache_ext.transport.trips` gives both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class _Place:
    """Where one waits until the lock is freed, for the answer or to lead."""

    __slots__ = ("leads", "woken")

    def __init__(self) -> None:
        self.leads = False
        self.woken = threading.Lock()
        self.woken.acquire()


class Relay:
    """Has one caller at a time *ask* for all who came while the one before him did.

    Args:
        ask: one round trip.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._waiting: list[_Place] = []
        self._under_way = False

    def __call__(self) -> None:
        """Return when somebody has asked since this was called."""
        place = None
        with self._lock:
            if self._under_way:
                self._waiting.append(place := _Place())
            self._under_way = True
        if place is not None:
            place.woken.acquire()
            if not place.leads:
                return
        with self._lock:
            crew, self._waiting = self._waiting, []
        self._ask()
        with self._lock:
            self._under_way = bool(self._waiting)
            if self._waiting:
                leader = self._waiting.pop()
                leader.leads = True
                crew.append(leader)
        for each in crew:
            each.woken.release()
