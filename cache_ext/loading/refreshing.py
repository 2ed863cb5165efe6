"""Refreshing in the background what is asked for, so that nobody waits for the origin."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from cache_ext.loading.flights import Flight, Flights
from cache_ext.loading.loads import Loading
from cache_ext.loading.origin import Job
from cache_ext.reading.slot import Slot

log = logging.getLogger(__name__)

MAX_AT_ONCE = 32
"""Refreshes under way in a process; beyond that readers keep the value they have a little longer."""
REST = 0.5
"""Seconds that a key is left alone after a refresh that failed."""


class Refresher:
    """Starts background loads, one per key at a time."""

    def __init__(self, loading: Loading, flights: Flights, monotonic: Callable[[], float]) -> None:
        self._loading = loading
        self._flights = flights
        self._monotonic = monotonic
        self._places = threading.BoundedSemaphore(MAX_AT_ONCE)
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._rests: dict[str, float] = {}
        self._closed = False

    def refresh(self, slot: Slot, job: Job) -> None:
        """Load the key of *slot* anew, unless somebody does or did a moment ago. Returns at once."""
        key = slot.key
        if self._closed or self._monotonic() < self._rests.get(key, 0.0):
            return
        if not self._places.acquire(blocking=False):
            return
        flight, leads = self._flights.board(key, job.tags_of[key], self._loading.moment())
        if not leads:
            self._places.release()
            return
        thread = threading.Thread(
            target=self._run, args=(flight, slot, job), name="cache-ext-refresh", daemon=True
        )
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def close(self, patience: float) -> None:
        """Start no more; wait up to *patience* seconds for those under way."""
        self._closed = True
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(patience)

    def _run(self, flight: Flight, slot: Slot, job: Job) -> None:
        try:
            self._loading.lead({flight.key: flight}, {flight.key: slot.entry.token}, job)
            if isinstance(flight.outcome, Exception):
                self._rest(flight.key)
                log.debug("refresh failed: %s", flight.outcome)
        except Exception:
            log.exception("refresh failed")
        finally:
            self._places.release()
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _rest(self, key: str) -> None:
        now = self._monotonic()
        with self._lock:
            self._rests = {name: until for name, until in self._rests.items() if until > now}
            self._rests[key] = now + REST
