"""Invalidations that Redis could not be told yet: they come first once it answers again."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from cache_ext.errors import StoreUnavailable
from cache_ext.stores.base import Store

MAX_NAMES = 10_000
"""More than so many names waiting are one: everything."""


class Outbox:
    """What this process has invalidated without Redis. While it holds anything, the store is not believed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._tags: set[str] = set()
        self._soft: set[str] = set()
        self._keys: set[str] = set()
        self._everything = False
        self.waiting = False

    def add(
        self,
        *,
        tags: Iterable[str] = (),
        soft: Iterable[str] = (),
        keys: Iterable[str] = (),
        everything: bool = False,
    ) -> None:
        """Note what the store must be told; *soft* are tags that are invalidated softly."""
        with self._lock:
            self._tags.update(tags)
            self._soft.update(soft)
            self._keys.update(keys)
            names = len(self._tags) + len(self._soft) + len(self._keys)
            self._everything |= everything or names > MAX_NAMES
            if self._everything:
                self._tags.clear()
                self._soft.clear()
                self._keys.clear()
            self.waiting = True

    def settle(self, store: Store) -> None:
        """Tell *store* all that waits; do nothing if nothing does.

        Raises:
            StoreUnavailable: it still cannot be told, or is just being told by somebody else, so what it
                holds cannot be believed either.
        """
        if not self.waiting:
            return
        if not self._telling.acquire(blocking=False):
            raise StoreUnavailable("it is just being told what was invalidated without it")
        try:
            self._tell(store)
        finally:
            self._telling.release()

    def _tell(self, store: Store) -> None:
        with self._lock:
            tags, soft, keys, everything = self._tags, self._soft, self._keys, self._everything
            self._tags, self._soft, self._keys, self._everything = set(), set(), set(), False
        try:
            if everything:
                store.clear()
            if soft:
                store.invalidate(soft, soft=True)
            if tags:
                store.invalidate(tags)
            if keys:
                store.delete(keys)
        except StoreUnavailable:
            self.add(tags=tags, soft=soft, keys=keys, everything=everything)
            raise
        with self._lock:
            self.waiting = bool(self._tags or self._soft or self._keys or self._everything)
