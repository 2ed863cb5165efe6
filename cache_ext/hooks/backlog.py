"""What waits in this process: events that Redis could not be told, and runs of hooks here."""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from itertools import count
from typing import NamedTuple

from cache_ext.errors import StoreUnavailable
from cache_ext.hooks.event import Sent
from cache_ext.hooks.registry import Hook

MAX_WAITING = 1_000
"""Runs and events; beyond that `emit` refuses more."""
MAX_IDS = 10_000
"""Ids remembered here; Redis remembers all."""
REMEMBERED = 86_400.0
"""Seconds for which an id does nothing twice."""


class Run(NamedTuple):
    """A hook to be called here, for the *tries*-th time, with an event emitted *at* some Unix time."""

    hook: Hook
    sent: Sent
    at: float
    tries: int


class Backlog:
    """Bounded; used by whoever emits and by the thread that runs hooks.

    Args:
        monotonic: the clock, seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._runs: list[tuple[float, int, Run]] = []
        self._numbers = count()
        self._unsent: deque[Sent] = deque()
        self._ids: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs) + len(self._unsent)

    def repeats(self, sent: Sent) -> bool:
        """Tell whether the emitter's id of *sent* came this way lately."""
        with self._lock:
            seen = self._ids.get(sent.id)
        return sent.named and seen is not None and self._monotonic() - seen < REMEMBERED

    def add(self, sent: Sent, runs: Collection[Run]) -> None:
        """Keep *runs* of the event, or if there are none the event itself.

        Raises:
            StoreUnavailable: too much waits already.
        """
        with self._lock:
            if len(self) + max(1, len(runs)) > MAX_WAITING:
                raise StoreUnavailable(f"Redis is away, and {len(self)} events wait in this process")
            now = self._monotonic()
            for run in runs:
                heapq.heappush(self._runs, (now, next(self._numbers), run))
            if not runs:
                self._unsent.append(sent)
        self.remember(sent)

    def remember(self, sent: Sent) -> None:
        """Note the emitter's id of *sent*, if he gave one, as seen."""
        if sent.named:
            with self._lock:
                self._ids[sent.id] = self._monotonic()
                if len(self._ids) > MAX_IDS:
                    self._ids.popitem(last=False)

    def again(self, run: Run, pause: float) -> None:
        """Keep *run* for another try after *pause* seconds."""
        with self._lock:
            heapq.heappush(self._runs, (self._monotonic() + pause, next(self._numbers), run))

    def due(self) -> Run | None:
        """Return, and keep no longer, a run that is due."""
        with self._lock:
            if not self._runs or self._runs[0][0] > self._monotonic():
                return None
            return heapq.heappop(self._runs)[2]

    def rest(self) -> float:
        """Return the seconds until the next run is due, infinite if there is none."""
        with self._lock:
            return self._runs[0][0] - self._monotonic() if self._runs else float("inf")

    def unsent(self) -> Sent | None:
        """Return the oldest event that Redis must be told; it is kept until `sent`."""
        return self._unsent[0] if self._unsent else None

    def sent(self) -> None:
        """Forget the oldest event: Redis knows it."""
        self._unsent.popleft()
