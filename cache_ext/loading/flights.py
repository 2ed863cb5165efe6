"""Single flight within a process: of those who miss a key at once, one loads and the others wait for him."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from typing import NamedTuple

from cache_ext.errors import CacheError
from cache_ext.reading.slot import Slot


class LoadAbandoned(CacheError):
    """Whoever was loading for others was killed before he had an answer."""


class Moment(NamedTuple):
    """How much this process knew of invalidations at some moment.

    Args:
        mark: of L1, see `NearCache.mark`.
        generation: of the backplane, see `Trust`.
        hears: whether the backplane was up.
    """

    mark: int
    generation: int
    hears: bool


class Flight:
    """One load under way. `outcome` is set before `done`.

    `wake` is set when another process ended its load of the same key. `blind` is set if it was loaded
    without the store, so that nobody else can know better; `awaited` if another process was at it already.
    """

    __slots__ = ("awaited", "blind", "done", "key", "outcome", "since", "tags", "wake")

    def __init__(self, key: str, tags: Collection[str], since: Moment) -> None:
        self.key = key
        self.tags = frozenset(tags)
        self.since = since
        self.awaited = False
        self.blind = False
        self.done = threading.Event()
        self.wake = threading.Event()
        self.outcome: Slot | Exception | None = None


class Flights:
    """The loads under way in this process, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Flight] = {}
        self._aloft: set[Flight] = set()

    def board(self, key: str, tags: Collection[str], now: Moment) -> tuple[Flight, bool]:
        """Return the flight of *key*, and True if the caller leads it: he must `land` it."""
        with self._lock:
            flight = self._open.get(key)
            if flight is not None:
                return flight, False
            flight = self._open[key] = Flight(key, tags, now)
            self._aloft.add(flight)
            return flight, True

    def land(self, flight: Flight, outcome: Slot | Exception) -> None:
        """Give *outcome* to all who wait for *flight*; the next caller starts a new one."""
        with self._lock:
            self._aloft.discard(flight)
            if self._open.get(flight.key) is flight:
                del self._open[flight.key]
        flight.outcome = outcome
        flight.done.set()

    def outdate(self, keys: Iterable[str] = (), tags: Collection[str] = ()) -> None:
        """Let nobody board flights of *keys* and *tags* any more: they started before an invalidation."""
        with self._lock:
            for key in keys:
                self._open.pop(key, None)
            for flight in [flight for flight in self._open.values() if not flight.tags.isdisjoint(tags)]:
                del self._open[flight.key]

    def outdate_all(self) -> None:
        """Let nobody board any flight that is under way."""
        with self._lock:
            self._open.clear()

    def wake(self, keys: Collection[str]) -> None:
        """Tell who waits for other processes' loads of *keys* that these ended."""
        with self._lock:
            for flight in self._aloft:
                if flight.key in keys:
                    flight.wake.set()

    def wake_all(self) -> None:
        """Let everybody who waits for other processes look again: messages may have been lost."""
        with self._lock:
            for flight in self._aloft:
                flight.wake.set()
