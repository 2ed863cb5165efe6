"""Loading: one caller asks the origin, under noted versions and a lease; the others wait for him."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cache_ext.coherence.backplane import Trust
from cache_ext.coherence.outbox import Outbox
from cache_ext.entry import new_stamp
from cache_ext.errors import CacheError, StoreUnavailable
from cache_ext.loading.filling import Filler
from cache_ext.loading.flights import Flight, Flights, Moment
from cache_ext.loading.host import HostOrigin
from cache_ext.loading.origin import Departure, Job
from cache_ext.loading.upkeep import Leases
from cache_ext.reading.frames import current_frame
from cache_ext.reading.near import NearCache
from cache_ext.reading.reader import Reader, token_of
from cache_ext.reading.slot import Slot
from cache_ext.stores.base import Started, Store

PATIENCE = 30.0
"""Seconds that a caller waits for somebody else's load before he loads himself."""
DEAF_PATIENCE = 0.25
"""Seconds after which he looks again by himself while the backplane, which would wake him, is down."""


class LoadAbandoned(CacheError):
    """Whoever was loading for others was killed before he had an answer."""


class Loading:
    """Runs jobs so that each key is loaded once, whoever asks for it and in however many processes."""

    def __init__(
        self,
        store: Store,
        near: NearCache,
        reader: Reader,
        origin: HostOrigin,
        filler: Filler,
        flights: Flights,
        leases: Leases,
        outbox: Outbox,
        trust: Trust,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._near = near
        self._reader = reader
        self._origin = origin
        self._filler = filler
        self._flights = flights
        self._leases = leases
        self._outbox = outbox
        self._trust = trust
        self._monotonic = monotonic

    def load(
        self, seen: Mapping[str, bytes], job: Job, *, again: bool = False
    ) -> dict[str, Slot | Exception]:
        """Return a slot, or what went wrong, for each key of *seen*.

        Args:
            seen: by key, the token of what the caller found in the store, b"" if nothing.
            again: any flight that is open now started after the caller came, so he may join it.
        """
        if (frame := current_frame()) is not None:
            for key in seen:
                frame.refuse_circle(key)
        boarding = self.moment()
        led: dict[str, Flight] = {}
        joined: dict[str, Flight] = {}
        for key in seen:
            flight, leads = self._flights.board(key, job.tags_of[key], boarding)
            (led if leads else joined)[key] = flight
        if led:
            self.lead(led, seen, job)
        outcomes = {key: self._outcome(flight, seen, job) for key, flight in (led | joined).items()}
        old = [key for key, flight in joined.items() if not again and self._too_old(flight, boarding)]
        if old:
            outcomes |= self.load({key: seen[key] for key in old}, job, again=True)
        return {key: outcomes[key] for key in seen}

    def moment(self) -> Moment:
        """Return how much this process knows now."""
        hears = self._monotonic() < self._trust.live_until
        return Moment(self._near.mark(), self._trust.generation, hears)

    def _too_old(self, flight: Flight, boarding: Moment) -> bool:
        """Tell whether *flight* may be older than an invalidation that was over when the caller came."""
        slot = flight.outcome
        if not isinstance(slot, Slot):
            return False
        if not flight.blind and (not boarding.hears or boarding.generation != flight.since.generation):
            return True
        frame = current_frame()
        return self._near.passed(slot, flight.since.mark) or not (frame is None or frame.accepts(slot))

    def put(self, key: str, job: Job) -> bool:
        """Store what *job* gives for *key* over whatever lies there or is being loaded; False if nowhere.

        Raises:
            UnsupportedValue: the value cannot be kept exactly.
        """
        since, began, token = self.moment(), self._monotonic(), new_stamp()
        try:
            self._outbox.settle(self._store)
            versions = self._store.begin({key: None}, job.tags([key]), token, job.policy.lifetime).versions
        except StoreUnavailable:
            versions = None
        departure = Departure(began, token, versions)
        slot = self._origin.call([key], job, departure)[key]
        try:
            if isinstance(slot, Exception):
                raise slot
            self._filler.refuse_oversize(slot)
        except CacheError:
            self._filler.release([key], token)
            raise
        stored = None if versions is None else self._filler.fill({key: slot}, departure)
        self._near.replaced(key, token)
        self._flights.outdate([key])
        if stored is not None:
            slot.generation = since.generation
        return (stored is None or key in stored) and self._near.put(slot, since.mark)

    def _outcome(self, flight: Flight, seen: Mapping[str, bytes], job: Job) -> Slot | Exception:
        if not flight.done.wait(PATIENCE):
            departure = Departure(self._monotonic(), new_stamp(), None)
            return self._origin.call([flight.key], job, departure)[flight.key]
        if isinstance(flight.outcome, LoadAbandoned):
            return self.load({flight.key: seen[flight.key]}, job)[flight.key]
        if flight.outcome is None:
            raise AssertionError("a flight landed without an outcome")
        return flight.outcome

    def lead(self, flights: Mapping[str, Flight], seen: Mapping[str, bytes], job: Job) -> None:
        """Bring *flights*, which the caller leads, down: with what somebody else loaded, or by loading."""
        aloft = dict(flights)
        known: dict[str, bytes | None] = {key: seen[key] for key in aloft}
        deadline = self._monotonic() + PATIENCE
        try:
            self._land_known(aloft, seen)
            while aloft:
                self._attempt(aloft, known, job, deadline)
        finally:
            for flight in aloft.values():  # the thread is being killed: nobody may be left waiting
                self._flights.land(flight, LoadAbandoned(flight.key))

    def _land_known(self, aloft: dict[str, Flight], seen: Mapping[str, bytes]) -> None:
        """Land what another thread of this process loaded between the caller's look and his boarding."""
        now = self._monotonic()
        for key in list(aloft):
            slot = self._reader.near(key)
            if slot is not None and now < slot.fresh_until and slot.entry.token != seen[key]:
                self._flights.land(aloft.pop(key), slot)

    def _attempt(
        self, aloft: dict[str, Flight], known: dict[str, bytes | None], job: Job, deadline: float
    ) -> None:
        for flight in aloft.values():
            flight.wake.clear()
        since, began, token = self.moment(), self._monotonic(), new_stamp()
        try:
            self._outbox.settle(self._store)
            started = self._store.begin(
                {key: known[key] for key in aloft}, job.tags(aloft), token, job.policy.lifetime
            )
        except StoreUnavailable:
            for flight in aloft.values():
                flight.blind = True
            self._fly(list(aloft), aloft, job, Departure(began, token, None, alone=True), since)
            return
        self._adopt(started, aloft, known, job, since, began)
        departure = Departure(began, token, started.versions)
        if started.granted:
            granted = [key for key in aloft if key in started.granted]
            self._leases.hold(token, started.granted)
            try:
                self._fly(granted, aloft, job, departure, since)
            finally:
                self._leases.drop(token)
        if busy := {key: left for key, left in started.busy.items() if key in aloft}:
            self._await(busy, aloft, known, job, deadline)

    def _fly(
        self,
        keys: Sequence[str],
        aloft: dict[str, Flight],
        job: Job,
        departure: Departure,
        since: Moment,
    ) -> None:
        """Load *keys*, store what came and land their flights."""
        stored: frozenset[str] | None = None if departure.versions is None else frozenset()
        outcomes: dict[str, Slot | Exception] = {}
        try:
            outcomes = self._origin.call(keys, job, departure)
            if stored is not None:
                stored = self._filler.fill(outcomes, departure)
        finally:
            if stored is not None:
                self._filler.release([key for key in keys if key not in stored], departure.token)
        for key in keys:
            outcome = outcomes[key]
            if isinstance(outcome, Slot) and (stored is None or key in stored):
                if stored is not None:
                    outcome.generation = since.generation
                self._near.put(outcome, since.mark)
            self._flights.land(aloft.pop(key), outcome)

    def _adopt(
        self,
        started: Started,
        aloft: dict[str, Flight],
        known: dict[str, bytes | None],
        job: Job,
        since: Moment,
        began: float,
    ) -> None:
        """Land what was loaded by another process since the caller looked."""
        for key, blob in started.changed.items():
            wanted = (job.tags_of[key], job.policy.sensitive)
            slot = self._reader.admit(key, blob, started.versions, wanted, since, began)
            if slot is not None and self._monotonic() < slot.fresh_until:
                self._flights.land(aloft.pop(key), slot)
            else:
                known[key] = token_of(blob)

    def _await(
        self,
        busy: Mapping[str, float],
        aloft: dict[str, Flight],
        known: dict[str, bytes | None],
        job: Job,
        deadline: float,
    ) -> None:
        """Wait until other processes end their loads of *busy*, or their leases end."""
        for key, left in busy.items():
            hears = self._monotonic() < self._trust.live_until
            aloft[key].wake.wait(left if hears else min(left, DEAF_PATIENCE))
        tags_of = {key: job.tags_of[key] for key in busy}
        for key, found in self._reader.read(tags_of, job.policy.sensitive).items():
            now = self._monotonic()
            slot = found.fresh_at(now)
            if slot is not None and slot.entry.token != known[key]:
                self._flights.land(aloft.pop(key), slot)
            else:
                known[key] = found.seen if now < deadline else None
