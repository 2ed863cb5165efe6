"""Loading: one caller asks the origin, under noted versions and a lease; the others wait for him."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from cache_ext.coherence.backplane import Trust
from cache_ext.coherence.outbox import Outbox
from cache_ext.entry import new_stamp
from cache_ext.errors import LoadTimeout, StoreUnavailable
from cache_ext.loading.background import Background
from cache_ext.loading.flights import Flight, Flights, LoadAbandoned, Moment
from cache_ext.loading.flying import Flying
from cache_ext.loading.origin import Departure, Job
from cache_ext.reading.found import token_of
from cache_ext.reading.frames import current_frame
from cache_ext.reading.near import NearCache
from cache_ext.reading.reader import Reader
from cache_ext.reading.slot import Slot
from cache_ext.stores.base import Started, Store

PATIENCE = 30.0
"""Seconds that a caller waits for somebody else's load before he loads himself."""
DEAF_PATIENCE = 0.25
"""Seconds after which he looks again by himself while the backplane, which would wake him, is down."""


class Loading:
    """Runs jobs so that each key is loaded once, whoever asks for it and in however many processes."""

    def __init__(
        self,
        store: Store,
        near: NearCache,
        reader: Reader,
        flying: Flying,
        flights: Flights,
        background: Background,
        outbox: Outbox,
        trust: Trust,
        monotonic: Callable[[], float],
        coalesced: Callable[[str], None],
    ) -> None:
        self._store = store
        self._near = near
        self._reader = reader
        self._flying = flying
        self._flights = flights
        self._background = background
        self._outbox = outbox
        self._trust = trust
        self._monotonic = monotonic
        self._coalesced = coalesced

    def load(
        self,
        seen: Mapping[str, bytes],
        job: Job,
        *,
        patience: Mapping[str, float] | None = None,
        again: bool = False,
    ) -> dict[str, Slot | Exception]:
        """Return a slot, or what went wrong, for each key of *seen*.

        Args:
            seen: by key, the token of what the caller found in the store, b"" if nothing.
            patience: by key, the seconds that the caller waits; then it is a LoadTimeout, and the load goes
                on. None: as long as it takes.
            again: any flight that is open now started after the caller came, so he may join it.
        """
        if (frame := current_frame()) is not None:
            for key in seen:
                frame.refuse_circle(key)
        boarding, came = self.moment(), self._monotonic()
        led: dict[str, Flight] = {}
        joined: dict[str, Flight] = {}
        for key in seen:
            flight, leads = self._flights.board(key, job.tags_of[key], boarding)
            (led if leads else joined)[key] = flight
            if not leads and not again:
                self._coalesced(job.policy.name)
        if led and patience is None:
            self.lead(led, seen, job)
        elif led and patience is not None:
            longest = min(PATIENCE, *patience.values())
            if not self._background.run(lambda: self.lead(led, seen, job), longest):
                self.abandon(led.values())
        outcomes = {
            key: self._outcome(flight, seen, job, None if patience is None else came + patience[key])
            for key, flight in (led | joined).items()
        }
        old = [key for key, flight in joined.items() if not again and self._too_old(flight, boarding, job)]
        if old:
            spent = self._monotonic() - came
            left = None if patience is None else {key: max(0.0, patience[key] - spent) for key in old}
            outcomes |= self.load({key: seen[key] for key in old}, job, patience=left, again=True)
        return {key: outcomes[key] for key in seen}

    def moment(self) -> Moment:
        """Return how much this process knows now."""
        hears = self._monotonic() < self._trust.live_until
        return Moment(self._near.mark(), self._trust.generation, hears)

    def abandon(self, flights: Iterable[Flight]) -> None:
        """Let *flights* come to nothing: who waits for one looks after himself."""
        for flight in flights:
            self._flights.land(flight, LoadAbandoned(flight.key))

    def _too_old(self, flight: Flight, boarding: Moment, job: Job) -> bool:
        """Tell whether *flight* may be older than what its caller, coming late, is entitled to."""
        slot = flight.outcome
        if not isinstance(slot, Slot):
            return False
        if not flight.blind and (not boarding.hears or boarding.generation != flight.since.generation):
            return True
        if not job.terms.accept(slot, from_store=False):
            return True
        frame = current_frame()
        return self._near.passed(slot, flight.since.mark) or not (frame is None or frame.accepts(slot))

    def _outcome(
        self, flight: Flight, seen: Mapping[str, bytes], job: Job, deadline: float | None
    ) -> Slot | Exception:
        timed = deadline is not None and deadline < math.inf
        left = max(0.0, deadline - self._monotonic()) if timed and deadline is not None else PATIENCE
        if not flight.done.wait(left):
            if timed:
                return LoadTimeout(f"{flight.key!r} is still being loaded")
            departure = Departure(self._monotonic(), new_stamp(), None)
            return self._flying.call([flight.key], job, departure)[flight.key]
        if isinstance(flight.outcome, LoadAbandoned):
            if timed:
                return LoadTimeout(f"too much is being loaded to begin with {flight.key!r}")
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
            self._land_known(aloft, seen, job)
            while aloft:
                self._attempt(aloft, known, job, deadline)
        finally:
            self.abandon(aloft.values())  # the thread is being killed: nobody may be left waiting

    def _land_known(self, aloft: dict[str, Flight], seen: Mapping[str, bytes], job: Job) -> None:
        """Land what another thread of this process loaded between the caller's look and his boarding."""
        now = self._monotonic()
        for key in list(aloft):
            slot = self._reader.near(key, job.terms)
            if slot is not None and now < slot.fresh_until and slot.entry.token != seen[key]:
                self._flights.land(aloft.pop(key), slot)

    def _attempt(
        self, aloft: dict[str, Flight], known: dict[str, bytes | None], job: Job, deadline: float
    ) -> None:
        for flight in aloft.values():
            flight.wake.clear()
        since, began, token = self.moment(), self._monotonic(), new_stamp()
        tags = job.tags(aloft) | self._reader.known.of(aloft)
        positions = self._trust.positions()
        try:
            self._outbox.settle(self._store)
            started = self._store.begin({key: known[key] for key in aloft}, tags, token, job.policy.lifetime)
        except StoreUnavailable as error:
            self._flying.orphan(token, aloft, error)
            for flight in aloft.values():
                flight.blind = True
            self._flying.fly(list(aloft), aloft, job, Departure(began, token, None, alone=True), since)
            return
        self._adopt(started, aloft, known, job, since, began)
        granted = [key for key in aloft if key in started.granted]
        if granted:
            departure = Departure(began, token, started.versions, positions)
            self._flying.fly_leased(granted, aloft, job, departure, since)
        if busy := {key: left for key, left in started.busy.items() if key in aloft}:
            self._await(busy, aloft, known, job, deadline)

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
            slot = self._reader.admit(key, blob, started.versions, job.tags_of[key], job.terms, since, began)
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
            if not aloft[key].awaited:
                aloft[key].awaited = True
                self._coalesced(job.policy.name)
            hears = self._monotonic() < self._trust.live_until
            aloft[key].wake.wait(left if hears else min(left, DEAF_PATIENCE))
        tags_of = {key: job.tags_of[key] for key in busy}
        for key, found in self._reader.read(tags_of, job.terms).items():
            now = self._monotonic()
            slot = found.fresh_at(now)
            if slot is not None and slot.entry.token != known[key]:
                self._flights.land(aloft.pop(key), slot)
            else:
                known[key] = found.seen if now < deadline else None
