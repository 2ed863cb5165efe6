"""Refreshing in the background what is asked for, so that nobody waits for the origin."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from functools import partial

from cache_ext.loading.background import Background
from cache_ext.loading.failures import Failures
from cache_ext.loading.flights import Flight, Flights
from cache_ext.loading.loads import Loading
from cache_ext.loading.origin import Job
from cache_ext.reading.frames import ahead
from cache_ext.reading.slot import Slot


class Refresher:
    """Starts background loads, one per key at a time.

    Args:
        background: bounds them; beyond that readers keep the value they have a little longer.
        monotonic: the clock, seconds.
        early: is told the cache of each that begins while the value is fresh.
    """

    def __init__(
        self,
        loading: Loading,
        flights: Flights,
        failures: Failures,
        background: Background,
        monotonic: Callable[[], float],
        early: Callable[[str], None],
    ) -> None:
        self._loading = loading
        self._flights = flights
        self._failures = failures
        self._background = background
        self._monotonic = monotonic
        self._early = early

    def refresh(self, slot: Slot, job: Job) -> None:
        """Load the key of *slot* anew, unless somebody does or did a moment ago. Returns at once."""
        key = slot.key
        if self._failures.rests(key):
            return
        flight, leads = self._flights.board(key, job.tags_of[key], self._loading.moment())
        if not leads:
            return
        job.previous[key] = slot
        lead = partial(self._lead, flight, slot, job)
        # In a context of its own: what is refreshed is no part of the load or request that asked for it.
        if not contextvars.Context().run(self._background.run, lead):
            self._loading.abandon([flight])
        elif self._monotonic() < slot.fresh_until:
            self._early(job.policy.name)

    def _lead(self, flight: Flight, slot: Slot, job: Job) -> None:
        with ahead():
            self._loading.lead({flight.key: flight}, {flight.key: slot.entry.token}, job)
