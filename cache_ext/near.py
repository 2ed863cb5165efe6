"""L1: this process' own copies, bounded in bytes, and what it takes to never serve one too many.

An entry is put here after a read or a load that took a while; an invalidation may have passed meanwhile.
So whoever is about to read takes a `mark`, and `put` refuses an entry if one of its names was invalidated
after that mark.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from cache_ext import metrics
from cache_ext.entry import Entry

SLOT_OVERHEAD_BYTES = 700
"""Measured cost of a slot beside its payload: objects, links, index of tags (tests/test_near.py)."""
_REMEMBERED = 8_192
"""Invalidated names that are remembered singly; older ones only as 'something was'."""


class Slot:
    """An entry as this process holds it. Times are seconds on the monotonic clock."""

    __slots__ = (
        "early_at",
        "entry",
        "fresh_until",
        "generation",
        "key",
        "loaded",
        "shared",
        "stale_until",
        "value",
    )

    def __init__(self, key: str, entry: Entry, loaded: float, generation: int, early_factor: float) -> None:
        self.key = key
        self.entry = entry
        self.loaded = loaded
        self.generation = generation
        self.fresh_until = loaded + entry.ttl / 1000
        self.stale_until = self.fresh_until + entry.stale_for / 1000
        self.early_at = self.fresh_until - early_factor * entry.load_time / 1000
        self.shared = False
        self.value: Any = None

    @property
    def size(self) -> int:
        """Bytes that the slot is counted with."""
        return len(memoryview(self.entry.payload)) + len(self.key) + SLOT_OVERHEAD_BYTES


class NearCache:
    """Slots by key, the least recently used going first, found by tag as well.

    Args:
        max_bytes: bound of the slots' sizes; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._by_tag: dict[str, set[str]] = {}
        self._bytes = 0
        self._tick = 0
        self._floor = 0
        self._gone_keys: OrderedDict[str, int] = OrderedDict()
        self._gone_tags: OrderedDict[str, int] = OrderedDict()

    def get(self, key: str) -> Slot | None:
        """Return the slot of *key*, whatever its state; None if there is none."""
        slot = self._slots.get(key)
        if slot is not None:
            with self._lock:
                if key in self._slots:
                    self._slots.move_to_end(key)
        return slot

    def mark(self) -> int:
        """Return a point in time to give to `put` later."""
        return self._tick

    def put(self, slot: Slot, mark: int) -> bool:
        """Keep *slot*, unless one of its names was invalidated after *mark*; tell whether it was kept."""
        with self._lock:
            if self._passed(slot, mark):
                return False
            self._remove(slot.key)
            if slot.size > self._max_bytes:
                return True
            self._slots[slot.key] = slot
            self._bytes += slot.size
            for tag, _, _ in slot.entry.tags:
                self._by_tag.setdefault(tag, set()).add(slot.key)
            while self._bytes > self._max_bytes:
                self._remove(next(iter(self._slots)))
                metrics.evictions.labels("l1").inc()
            return True

    def invalidate(self, tags: Iterable[str], sequence: int | None = None) -> None:
        """Drop what carries one of *tags*; with a *sequence*, what was made before it."""
        with self._lock:
            for tag in tags:
                self._remember(self._gone_tags, tag)
                for key in tuple(self._by_tag.get(tag, ())):
                    if sequence is None or _counter(self._slots[key].entry, tag) < sequence:
                        self._remove(key)

    def delete(self, keys: Iterable[str]) -> int:
        """Drop *keys*; return how many there were."""
        with self._lock:
            gone = 0
            for key in keys:
                self._remember(self._gone_keys, key)
                gone += self._remove(key)
            return gone

    def replaced(self, key: str, token: bytes) -> None:
        """Drop the slot of *key* if another load than that of *token* made it: there is a newer one."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is not None and slot.entry.token != token:
                self._remove(key)

    def clear(self) -> None:
        """Drop everything, and everything that is on its way."""
        with self._lock:
            self._tick += 1
            self._floor = self._tick
            self._slots.clear()
            self._by_tag.clear()
            self._bytes = 0

    def sizes(self) -> tuple[int, int]:
        """Return how many slots there are, and their bytes."""
        return len(self._slots), self._bytes

    def _passed(self, slot: Slot, mark: int) -> bool:
        if self._floor > mark or self._gone_keys.get(slot.key, 0) > mark:
            return True
        return any(self._gone_tags.get(tag, 0) > mark for tag, _, _ in slot.entry.tags)

    def _remember(self, gone: OrderedDict[str, int], name: str) -> None:
        self._tick += 1
        gone[name] = self._tick
        gone.move_to_end(name)
        if len(gone) > _REMEMBERED:
            self._floor = max(self._floor, gone.popitem(last=False)[1])

    def _remove(self, key: str) -> bool:
        slot = self._slots.pop(key, None)
        if slot is None:
            return False
        self._bytes -= slot.size
        for tag, _, _ in slot.entry.tags:
            keys = self._by_tag.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_tag[tag]
        return True


def _counter(entry: Entry, tag: str) -> int:
    return next(counter for name, _, counter in entry.tags if name == tag)
