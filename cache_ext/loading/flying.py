"""A load on its way: call the origin, store what came, and let everybody have it."""

from __future__ import annotations

from collections.abc import Sequence

from cache_ext.loading.failures import Failures
from cache_ext.loading.filling import Filler
from cache_ext.loading.flights import Flight, Flights, Moment
from cache_ext.loading.host import HostOrigin
from cache_ext.loading.origin import Departure, Job
from cache_ext.loading.upkeep import Leases
from cache_ext.reading.near import NearCache
from cache_ext.reading.slot import Slot


class Flying:
    """Takes jobs from their departure to L2, L1 and whoever waits."""

    def __init__(
        self,
        origin: HostOrigin,
        filler: Filler,
        near: NearCache,
        flights: Flights,
        leases: Leases,
        failures: Failures,
    ) -> None:
        self.call = origin.call
        self.orphan = leases.orphan
        self._filler = filler
        self._near = near
        self._flights = flights
        self._leases = leases
        self._failures = failures

    def fly_leased(
        self, keys: Sequence[str], aloft: dict[str, Flight], job: Job, departure: Departure, since: Moment
    ) -> None:
        """Do as `fly`, and have the leases renewed meanwhile."""
        self._leases.hold(departure.token, frozenset(keys))
        try:
            self.fly(keys, aloft, job, departure, since)
        finally:
            self._leases.drop(departure.token)

    def fly(
        self, keys: Sequence[str], aloft: dict[str, Flight], job: Job, departure: Departure, since: Moment
    ) -> None:
        """Load *keys*, store what came and land their flights."""
        stored: frozenset[str] | None = None if departure.versions is None else frozenset()
        outcomes: dict[str, Slot | Exception] = {}
        try:
            outcomes = self.call(keys, job, departure)
            if stored is not None:
                stored = self._filler.fill(outcomes, departure)
        finally:
            if stored is not None:
                self._filler.release([key for key in keys if key not in stored], departure.token)
        for key in keys:
            outcome = outcomes[key]
            if isinstance(outcome, Exception):
                self._failures.note(key, outcome, job.policy.failure_throttle)
            else:
                self._failures.forget(key)
                if stored is None or key in stored:
                    self._keep(outcome, job, since, trusted=stored is not None)
            self._flights.land(aloft.pop(key), outcome)

    def _keep(self, slot: Slot, job: Job, since: Moment, *, trusted: bool) -> None:
        if trusted:
            slot.generation = since.generation
        if job.terms.l1_ttl is not None:
            slot.check_by(slot.loaded + job.terms.l1_ttl)
        self._near.put(slot, since.mark)
