"""Stored responses in the engine: found, loaded once for all who ask, refreshed, deleted."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from cache_ext.engine import TieredCache
from cache_ext.explain.trails import Read, Trail, current_trail
from cache_ext.http_cache.stored import StoredResponse, register_stored
from cache_ext.loading.origin import Job
from cache_ext.policy import CachePolicy
from cache_ext.reading.bypass import is_bypassed
from cache_ext.reading.found import Found
from cache_ext.reading.frames import current_frame
from cache_ext.reading.slot import Slot
from cache_ext.reading.terms import ANY
from cache_ext.stats.sampling import Seen
from cache_ext.transport.budget import budget

Tags = tuple[str, ...]
Loader = Callable[[], Any]


def _found(given: tuple[Any, ...], found: Any) -> Seen:
    """Look at `Lookup.find`, which is asked for the variants of a place with its tags once more."""
    key, tags = given
    return () if tags else ((key, ()),)


class Lookup:
    """The engine as a door sees it.

    Args:
        cache: where responses lie.
        longest: seconds that one is fresh, and stale past that, at most.
        name: the ``cache`` label of the metrics.
    """

    def __init__(self, cache: TieredCache, longest: float, name: str) -> None:
        self._cache = cache
        self._name = name
        self._policy = CachePolicy(ttl=longest, stale_if_error=longest, name=name)
        register_stored(cache)
        self._be_watched()
        myself = weakref.ref(self)

        def after_fork() -> None:
            if lookup := myself():
                lookup._be_watched()  # by the child's own cache

        os.register_at_fork(after_in_child=after_fork)

    def _be_watched(self) -> None:
        self._cache.runtime.sampler.watch(self, "near")
        self._cache.runtime.sampler.watch(self, "find", _found)

    @property
    def works(self) -> bool:
        """Whether anything is kept at all."""
        return self._cache.settings.enabled and not is_bypassed()

    def now(self) -> float:
        """Return the time of the engine's monotonic clock, seconds."""
        return self._cache.runtime.monotonic()

    def near(self, key: str) -> Slot | None:
        """Return *key* from L1 if it is fresh and there is nothing else to do; see `count_hit`."""
        runtime = self._cache.runtime
        slot = runtime.near.get(key)
        if slot is None or slot.generation != runtime.trust.generation:
            return None
        now = runtime.monotonic()
        if now >= slot.serve_until or now >= runtime.trust.live_until:
            return None
        if current_frame() is not None or is_bypassed():
            return None
        return slot

    def count_hit(self, slot: Slot, request_id: str | None) -> float:
        """Count a response from L1, have it be one that can be explained later, and return `now`."""
        runtime = self._cache.runtime
        runtime.tally.hit(self._name)
        now = runtime.monotonic()
        if request_id is not None:
            runtime.memory.note((request_id, now, slot.key, slot.loaded))
        return now

    def remember(self, trail: Trail) -> None:
        """Have the request of *trail* be one that can be explained later."""
        self._cache.runtime.memory.follow(trail)

    def find(self, key: str, tags: Tags) -> Found:
        """Return what there is of *key*, fresh or not."""
        runtime = self._cache.runtime
        runtime.start()
        if (slot := runtime.reader.near(key)) is not None:
            return Found(slot, slot.entry.token, "l1")
        with budget(self._cache.settings.op_timeout, of_call=True):
            return runtime.looks.look({key: tags}, ANY, plain=False).found[key]

    def load(
        self, found: Found, key: str, tags: Tags, loader: Loader, patience: float | None
    ) -> Slot | Exception:
        """Return what *loader* made, or somebody else's did meanwhile, as a slot, or what went wrong.

        Args:
            found: what the caller saw; it is replaced.
            patience: seconds to wait; None: as long as it takes.
        """
        runtime = self._cache.runtime
        seen = found.seen if found.slot is None else found.slot.entry.token
        waits = None if patience is None else {key: patience}
        with budget(self._cache.settings.op_timeout, of_call=True):
            return runtime.loading.load(
                {key: seen}, self._job(key, tags, loader, found.slot), patience=waits
            )[key]

    def refresh(self, slot: Slot, tags: Tags, loader: Loader) -> None:
        """Have *loader* replace *slot* in the background, unless somebody sees to it already."""
        self._cache.runtime.refresher.refresh(slot, self._job(slot.key, tags, loader, None))

    def use(self, slot: Slot, layer: str, outcome: str) -> None:
        """Note that *slot* is being served: for the metrics, and for the load that this is part of."""
        if (frame := current_frame()) is not None:
            frame.absorb(slot)
        runtime = self._cache.runtime
        runtime.tally.count(self._name, layer, outcome)
        if (trail := current_trail()) is not None:
            now = runtime.monotonic()
            trail.note(Read(slot.key, self._name, layer, outcome, now, max(0.0, now - slot.loaded)))

    def miss(self) -> None:
        """Count a request that the application answered."""
        self._cache.runtime.tally.count(self._name, "none", "miss")

    def mark(self) -> int:
        """Return now, to give to `has_ended` later."""
        return self._cache.runtime.near.mark()

    def has_ended(self, slot: Slot, mark: int) -> bool:
        """Tell whether *slot* was invalidated after *mark*."""
        return self._cache.runtime.near.ended(slot, mark)

    def delete(self, key: str) -> None:
        """Let what lies under *key*, or is being loaded, count no more."""
        self._cache.delete(key)

    def _job(self, key: str, tags: Tags, loader: Loader, previous: Slot | None) -> Job:
        def load(keys: Sequence[str]) -> dict[str, Any]:
            return {key: loader()}

        return Job(load, self._policy, {key: tags}, ANY, {} if previous is None else {key: previous})


def response_of(slot: Slot | Exception | None) -> StoredResponse | None:
    """Return the response in *slot*; the shared store is not believed that there is one."""
    if not isinstance(slot, Slot):
        return None
    value = slot.take()
    return value if isinstance(value, StoredResponse) else None
