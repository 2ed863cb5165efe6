"""Replacing one value by a newer one, under its lease: nobody else's change is lost in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cache_ext.engine import TieredCache
from cache_ext.entry import MISS, Missing
from cache_ext.errors import CacheError
from cache_ext.keys import check_name, check_tags
from cache_ext.loading.loaded import Loaded
from cache_ext.loading.origin import UNTRUSTED, Job
from cache_ext.policy import CachePolicy
from cache_ext.reading.found import Found
from cache_ext.reading.frames import current_frame
from cache_ext.reading.slot import Slot
from cache_ext.reading.terms import terms_of
from cache_ext.transport.budget import budget

ATTEMPTS = 200
"""So often others may be faster before an update gives up; each time one of them has got on."""


class NotUpdated(CacheError):
    """The store is away or keeps nothing, or too many others were changing the same value."""


class Update:
    """Updates of one key.

    Args:
        cache: where it lies.
        key: its name.
        policy: how the new value is kept.
        tags: what the new value carries.
    """

    def __init__(self, cache: TieredCache, key: str, policy: CachePolicy, tags: Iterable[str]) -> None:
        self._cache = cache
        self._key = check_name(key)
        self._policy = policy
        self._tags = {key: check_tags(tags)}
        self._terms = terms_of(policy, {}, shares=True)

    def replace(self, load: Callable[[], Any]) -> Any:
        """Call *load* now, store what it returns, and return that; the old value serves until then.

        A load by somebody else that began after this call is as good, and is taken instead.
        """
        own: list[bool] = []

        def loader() -> Any:
            own.append(True)
            return load()

        slot = self._load(self._look(), loader)
        for _ in range(2):  # of two loads in a row, the second began after this call
            if not own:
                slot = self._load(self._look(), loader)
        return slot.take()

    def change(self, make: Callable[[Any | Missing], Any]) -> Any:
        """Store and return what *make* makes of the value (MISS: none); a value that exists keeps its ttl.

        Between the value that *make* was given and the one that it returned there was no other.

        Raises:
            NotUpdated: nothing was changed.
        """
        for _ in range(ATTEMPTS):
            found = self._look()
            old = found.fresh_at(time.monotonic())
            made: list[Any] = []

            def loader(old: Slot | None = old, made: list[Any] = made) -> Any:
                made.append(make(MISS if old is None else old.take()))
                left = None if old is None else old.fresh_until - time.monotonic()
                return made[0] if left is None else Loaded(made[0], max(left, 0.001), early_refresh=False)

            slot = self._load(found, loader)
            if not slot.entry.epoch:  # the store is away, and nobody may take this for its value
                self._cache.runtime.near.drop(self._key)
                break
            if made and slot.generation != UNTRUSTED:
                return made[0]
        raise NotUpdated(f"{self._key!r} could not be changed")

    def _look(self) -> Found:
        self._cache.runtime.start()
        with budget(self._cache.settings.op_timeout, of_call=True):
            return self._cache.runtime.reader.read(self._tags, self._terms)[self._key]

    def _load(self, found: Found, loader: Callable[[], Any]) -> Slot:
        """Run *loader* unless somebody has replaced what was *found*; return what lies there then."""

        def load_many(keys: Sequence[str]) -> Mapping[str, Any]:
            return {self._key: loader()}

        seen = found.seen if found.slot is None else found.slot.entry.token
        job = Job(load_many, self._policy, self._tags, self._terms)
        with budget(self._cache.settings.op_timeout, of_call=True):
            outcome = self._cache.runtime.loading.load({self._key: seen}, job)[self._key]
        if isinstance(outcome, Exception):
            raise outcome
        if (frame := current_frame()) is not None:
            frame.absorb(outcome)
        return outcome
