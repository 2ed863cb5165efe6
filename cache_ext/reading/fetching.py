"""What every read decides: serve fresh, serve stale and refresh, load, or serve stale as that failed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from cache_ext import events, metrics
from cache_ext.loading.origin import Job, Loaded, NotLoaded
from cache_ext.policy import CachePolicy
from cache_ext.reading.frames import current_frame
from cache_ext.reading.reader import Found
from cache_ext.reading.slot import Slot
from cache_ext.runtime import Runtime
from cache_ext.transport.budget import budget


class Outcome(StrEnum):
    """How a value was come by. HIT: nobody waited for the origin. STALE: it is past its ttl."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"


_SIGNALS = {"hit": events.hit, "stale": events.stale}


class Fetched(Struct, frozen=True, gc=False):
    """A value and where it comes from.

    Args:
        value: the value.
        outcome: hit, miss or stale.
        layer: ``l1``, ``l2`` or ``origin``.
        age: seconds since its loader (of nested values: the oldest one) was called.
        ttl_left: seconds for which it is still fresh; negative if it is stale.
    """

    value: Any
    outcome: Outcome
    layer: str
    age: float
    ttl_left: float


class Fetcher:
    """Answers reads that have a loader."""

    def __init__(self, runtime: Runtime, monotonic: Callable[[], float]) -> None:
        self._runtime = runtime
        self._monotonic = monotonic
        self._counters: dict[tuple[str, str, str], Any] = {}

    def near(self, key: str, policy: CachePolicy) -> Fetched | None:
        """Return *key* from L1 if that is all there is to do: the way of nearly every read."""
        slot = self._runtime.reader.near(key)
        if slot is None or slot.entry.sealed < policy.sensitive:
            return None
        now = self._monotonic()
        return self._serve(slot, Outcome.HIT, "l1", now, policy) if now < slot.early_at else None

    def many(self, keys: Collection[str], job: Job) -> dict[str, Fetched | Exception]:
        """Return each of *keys*, or why there is none."""
        self._runtime.start()
        results: dict[str, Fetched | Exception] = {}
        missing = {}
        for key in keys:
            slot, now = self._runtime.reader.near(key), self._monotonic()
            if slot is not None and now < slot.fresh_until and slot.entry.sealed >= job.policy.sensitive:
                results[key] = self._hit(slot, "l1", now, job)
            else:
                missing[key] = job.tags_of[key]
        if missing:
            with budget(self._runtime.settings.op_timeout, of_call=True):
                results |= self._from_store(missing, job)
        return {key: results[key] for key in keys}

    def direct(self, keys: Sequence[str], job: Job) -> dict[str, Fetched | Exception]:
        """Return each of *keys* from the loader, past the cache."""
        values = job.loader(keys)
        results: dict[str, Fetched | Exception] = {}
        for key in keys:
            value = values.get(key, NotLoaded(key))
            ttl = job.policy.ttl
            if isinstance(value, Loaded):
                value, ttl = value.value, value.ttl
            failed = isinstance(value, Exception)
            results[key] = value if failed else Fetched(value, Outcome.MISS, "origin", 0.0, ttl)
        return results

    def _from_store(self, missing: Mapping[str, tuple[str, ...]], job: Job) -> dict[str, Fetched | Exception]:
        results: dict[str, Fetched | Exception] = {}
        wanted: dict[str, Found] = {}
        came, mark = self._monotonic(), self._runtime.near.mark()
        looked = self._runtime.looks.read(missing, job.policy.sensitive)
        now = self._monotonic()
        for key, found in looked.items():
            slot = found.fresh_at(now)
            if slot is not None:
                results[key] = self._hit(slot, found.layer, now, job)
            elif found.slot is not None and found.checked and now < _revalidated_until(found.slot, job):
                self._runtime.refresher.refresh(found.slot, job)
                results[key] = self._serve(found.slot, Outcome.STALE, found.layer, now, job.policy)
            else:
                wanted[key] = found
        if wanted:
            results |= self._load(wanted, job, mark, came)
        return results

    def _load(
        self, wanted: Mapping[str, Found], job: Job, mark: int, came: float
    ) -> dict[str, Fetched | Exception]:
        results: dict[str, Fetched | Exception] = {}
        outcomes = self._runtime.loading.load({key: found.seen for key, found in wanted.items()}, job)
        now = self._monotonic()
        for key, outcome in outcomes.items():
            old = wanted[key]
            if isinstance(outcome, Slot):
                made_of_stale = outcome.loaded < came and now >= outcome.fresh_until
                how = Outcome.STALE if made_of_stale else Outcome.MISS
                results[key] = self._serve(outcome, how, "origin", now, job.policy)
            elif old.slot is not None and self._is_last_resort(old.slot, job, now, mark):
                results[key] = self._serve(old.slot, Outcome.STALE, old.layer, now, job.policy)
            else:
                self.count(key, job.policy.name, "none", "error")
                results[key] = outcome
        return results

    def _is_last_resort(self, slot: Slot, job: Job, now: float, mark: int) -> bool:
        """Tell whether *slot*, found at *mark*, may be served because loading failed."""
        until = min(slot.stale_until, slot.fresh_until + job.policy.stale_if_error)
        return now < until and not self._runtime.near.ended(slot, mark)

    def _hit(self, slot: Slot, layer: str, now: float, job: Job) -> Fetched:
        """Return *slot*, which is fresh; if it will not be for long, see that it is refreshed."""
        if now >= slot.early_at and job.policy.early_refresh:
            self._runtime.refresher.refresh(slot, job)
        return self._serve(slot, Outcome.HIT, layer, now, job.policy)

    def _serve(self, slot: Slot, outcome: Outcome, layer: str, now: float, policy: CachePolicy) -> Fetched:
        frame = current_frame()
        if frame is not None:
            frame.absorb(slot)
        age = max(0.0, now - slot.loaded)
        self.count(slot.key, policy.name, layer, outcome, age)
        return Fetched(slot.take(), outcome, layer, age, slot.fresh_until - now)

    def count(self, key: str, name: str, layer: str, outcome: str, age: float = 0.0) -> None:
        """Count a read of *key* under a policy of *name*, and announce it to who listens."""
        which = (name, layer, outcome)
        counter = self._counters.get(which)
        if counter is None:
            counter = self._counters[which] = metrics.requests.labels(*which)
        counter.inc()
        signal = _SIGNALS.get(outcome, events.miss)
        if signal.receivers:
            self._runtime.announce(signal, events.Read(key, layer, name, age))


def _revalidated_until(slot: Slot, job: Job) -> float:
    """Return until when *slot* may be served while it is refreshed."""
    return min(slot.stale_until, slot.fresh_until + job.policy.stale_while_revalidate)
