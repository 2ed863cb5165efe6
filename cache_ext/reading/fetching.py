"""What every read decides: serve fresh, serve stale and refresh, load, or serve stale as that failed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from cache_ext import events
from cache_ext.explain.trails import Read, current_trail
from cache_ext.loading.loaded import NotLoaded, answer_of, as_of_seconds
from cache_ext.loading.origin import Job
from cache_ext.policy import CachePolicy
from cache_ext.reading.bypass import is_bypassed
from cache_ext.reading.fetched import Fetched, Outcome, values_of
from cache_ext.reading.found import Found
from cache_ext.reading.frames import current_frame, is_ahead
from cache_ext.reading.noting import Noting
from cache_ext.reading.sight import NOTHING_SEEN, Sight
from cache_ext.reading.slot import Slot
from cache_ext.reading.terms import ANY, OlderThanSeen
from cache_ext.runtime import Runtime
from cache_ext.stats.sampling import job_read
from cache_ext.transport.budget import budget


class Fetcher:
    """Answers reads that have a loader."""

    def __init__(self, runtime: Runtime, monotonic: Callable[[], float]) -> None:
        self._runtime = runtime
        self._monotonic = monotonic
        self._near = runtime.near.get
        self._trust = runtime.trust
        self._hit = runtime.tally.hit
        self._noting = Noting(runtime.tally, runtime.announce, monotonic)
        self.count = self._noting.count
        runtime.sampler.watch(self, "_answers", job_read)

    def near(self, key: str, policy: CachePolicy | None) -> Slot | None:
        """Return *key* from L1 if that is all there is to do: the way of nearly every read."""
        slot = self._near(key)
        if slot is None or slot.generation != self._trust.generation or is_bypassed():
            return None
        now = self._monotonic()
        if now >= slot.serve_until or now >= self._trust.live_until:
            return None
        if policy is None:
            name = "default"
        elif slot.entry.sealed >= policy.sensitive:
            name = policy.name
        else:
            return None
        frame = current_frame()
        if frame is not None:
            if not frame.accepts(slot):
                return None
            frame.absorb(slot)
        self._hit(name)
        if (trail := current_trail()) is not None:
            read = Read(key, name, "l1", "hit", now, max(0.0, now - slot.loaded))
            trail.note(read, sensitive=slot.entry.sealed)
        if events.hit.receivers:
            self._runtime.announce(events.hit, events.Read(key, "l1", name, max(0.0, now - slot.loaded)))
        return slot

    def hit(self, slot: Slot) -> Fetched:
        """Return what `near` found, in full."""
        now, as_of = self._monotonic(), as_of_seconds(slot.entry.as_of)
        age = max(0.0, now - slot.loaded)
        return Fetched(slot.take(), Outcome.HIT, "l1", age, slot.fresh_until - now, as_of)

    def fetch(self, job: Job) -> dict[str, Fetched | Exception]:
        """Return each key of *job*, or why there is none."""
        if is_bypassed():
            return self._direct(job)
        results, sight = self._answers(job)
        now = self._monotonic()
        for key in sight.values:
            results[key] = sight.fetched(key, now)
        return {key: results[key] for key in job.tags_of}

    def value(self, key: str, job: Job) -> Any:
        """Return the value of *key*, the only one of *job*. Raises what there is in place of one."""
        if is_bypassed():
            results = self._direct(job)
        else:
            results, sight = self._answers(job)
            if key in sight.values:
                return sight.values[key]
        result = results[key]
        if isinstance(result, Exception):
            raise result
        return result.value

    def values(self, job: Job) -> dict[str, Any]:
        """Return the values of the keys of *job*, without those that the loader left out.

        Raises:
            The first other exception that there is in place of a value.
        """
        if is_bypassed():
            return values_of(self._direct(job))
        results, sight = self._answers(job)
        if not results:
            return sight.values
        values = values_of(results) | sight.values
        return {key: values[key] for key in job.tags_of if key in values}

    def _answers(self, job: Job) -> tuple[dict[str, Fetched | Exception], Sight]:
        """Return what there is, and a sight whose plain hits are the rest."""
        self._runtime.start()
        results: dict[str, Fetched | Exception] = {}
        missing = job.tags_of
        if held := self._runtime.near.held(missing):
            for key in held:
                slot, now = self._runtime.reader.near(key, job.terms), self._monotonic()
                if slot is not None and now < slot.fresh_until and not self._is_due(slot, job, now):
                    results[key] = self._serve_fresh(slot, "l1", now, job)
            if len(results) == len(missing):
                return results, NOTHING_SEEN
            missing = {key: tags for key, tags in missing.items() if key not in results}
        with budget(self._runtime.settings.op_timeout, of_call=True):
            rest, sight = self._from_store(missing, job)
        return results | rest, sight

    def _direct(self, job: Job) -> dict[str, Fetched | Exception]:
        """Return each key of *job* from the loader, past the cache: no version is noted."""
        if (frame := current_frame()) is not None:
            frame.torn = True
        values = job.loader(list(job.tags_of))
        results: dict[str, Fetched | Exception] = {}
        for key in job.tags_of:
            made = answer_of(values.get(key, NotLoaded(key)), None)
            if isinstance(made, Exception):
                results[key] = made
                continue
            ttl = job.policy.ttl if made.ttl is None else made.ttl
            results[key] = Fetched(made.value, Outcome.MISS, "origin", 0.0, ttl, made.as_of)
        return results

    def _from_store(
        self, missing: Mapping[str, tuple[str, ...]], job: Job
    ) -> tuple[dict[str, Fetched | Exception], Sight]:
        results: dict[str, Fetched | Exception] = {}
        wanted: dict[str, Found] = {}
        came, mark = self._monotonic(), self._runtime.near.mark()
        plain = job.terms is ANY and current_frame() is None and not events.hit.receivers
        sight = self._runtime.looks.look(missing, job.terms, plain=plain)
        if sight.values:
            self._noting.plain(sight, job.policy.name)
            if not sight.found:
                return results, sight
        now = self._monotonic()
        for key, found in sight.found.items():
            slot, old = found.fresh_at(now), found.slot
            if slot is not None and not self._is_due(slot, job, now):
                results[key] = self._serve_fresh(slot, found.layer, now, job)
            elif old is not None and found.checked and not is_ahead() and self._may_revalidate(old, job, now):
                self._runtime.refresher.refresh(old, job)
                results[key] = self._serve(old, Outcome.STALE, found.layer, now, job)
            else:
                wanted[key] = found
        if wanted:
            results |= self._load(wanted, job, mark, came)
        return results, sight

    def _load(
        self, wanted: Mapping[str, Found], job: Job, mark: int, came: float
    ) -> dict[str, Fetched | Exception]:
        outcomes: dict[str, Slot | Exception] = {}
        seen = {}
        for key, found in wanted.items():
            if job.policy.failure_throttle and (error := self._runtime.failures.throttled(key)):
                outcomes[key] = error.with_traceback(None)  # which would grow with every raise
                continue
            seen[key] = found.seen
            if found.slot is not None:
                job.previous[key] = found.slot
        if seen:
            patience = self._patience(wanted, job, came) if job.policy.timed else None
            outcomes |= self._runtime.loading.load(seen, job, patience=patience)
        now = self._monotonic()
        return {key: self._loaded(key, wanted[key], outcomes[key], job, mark, came, now) for key in wanted}

    def _loaded(
        self, key: str, old: Found, outcome: Slot | Exception, job: Job, mark: int, came: float, now: float
    ) -> Fetched | Exception:
        if isinstance(outcome, Slot):
            if not job.terms.is_new_enough(outcome):
                return OlderThanSeen(f"{outcome.key!r}: the origin's data are older than what was seen")
            made_of_stale = outcome.loaded < came and now >= outcome.fresh_until
            return self._serve(outcome, Outcome.STALE if made_of_stale else Outcome.MISS, "origin", now, job)
        if old.slot is not None and self._is_last_resort(old.slot, job, now, mark):
            kind = Outcome.HIT if old.fresh_at(now) else Outcome.STALE
            return self._serve(old.slot, kind, old.layer, now, job)
        self.count(key, job.policy, "none", "error", 0.0)
        return outcome

    def _patience(self, wanted: Mapping[str, Found], job: Job, now: float) -> dict[str, float]:
        """Return how long the caller waits for each load, seconds."""
        policy, patience = job.policy, {}
        hard = math.inf if policy.hard_timeout is None else policy.hard_timeout
        for key, found in wanted.items():
            soft = policy.soft_timeout
            stale = found.slot is not None and now < self._stale_until(found.slot, job, policy.stale_if_error)
            patience[key] = min(soft, hard) if soft is not None and stale else hard
        return patience

    def _stale_until(self, slot: Slot, job: Job, allowed: float) -> float:
        """Return until when *slot* may be served past its ttl; *allowed*: seconds, by its policy."""
        return min(slot.stale_until, slot.fresh_until + min(allowed, job.terms.max_stale))

    def _may_revalidate(self, slot: Slot, job: Job, now: float) -> bool:
        """Tell whether *slot* may be served while it is refreshed."""
        return now < self._stale_until(slot, job, job.policy.stale_while_revalidate)

    def _is_last_resort(self, slot: Slot, job: Job, now: float, mark: int) -> bool:
        """Tell whether *slot*, found at *mark*, may be served because loading failed."""
        until = self._stale_until(slot, job, job.policy.stale_if_error)
        return now < until and not self._runtime.near.ended(slot, mark)

    def _is_due(self, slot: Slot, job: Job, now: float) -> bool:
        """Tell whether *slot*, which is fresh, is rather loaded anew, since nobody waits for it."""
        due = is_ahead() and now >= slot.early_at and job.policy.early_refresh
        return due and not self._runtime.failures.rests(slot.key)

    def _serve_fresh(self, slot: Slot, layer: str, now: float, job: Job) -> Fetched | Exception:
        """Return *slot*; if it will not be fresh for long, see that it is refreshed."""
        if now >= slot.early_at and job.policy.early_refresh:
            self._runtime.refresher.refresh(slot, job)
        return self._serve(slot, Outcome.HIT, layer, now, job)

    def _serve(self, slot: Slot, outcome: Outcome, layer: str, now: float, job: Job) -> Fetched | Exception:
        """Return what *slot* has: a value, or the error that was stored as one."""
        frame = current_frame()
        if frame is not None:
            frame.absorb(slot)
        age = max(0.0, now - slot.loaded)
        self.count(slot.key, job.policy, layer, outcome, age)
        value = slot.take()
        if slot.entry.failed:
            error: Exception = value
            return error
        return Fetched(value, outcome, layer, age, slot.fresh_until - now, as_of_seconds(slot.entry.as_of))
