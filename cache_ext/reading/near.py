"""L1: this process' own copies, bounded in bytes, and what it takes to never serve one too many.

An entry is put here after a read or a load that took a while; an invalidation may have passed meanwhile.
So whoever is about to read takes a `mark`, and `put` refuses an entry if one of its names was invalidated
after that mark; was it softly, the entry is kept as stale.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from cache_ext import metrics
from cache_ext.entry import Version
from cache_ext.reading.slot import Slot
from cache_ext.reading.softened import Softened, precedes

_REMEMBERED = 8_192
"""Invalidated names that are remembered singly; older ones only as 'something was'."""


class _Remembered:
    """What happened to names lately, and when; of what is long ago only that something was."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[int, bytes]] = OrderedDict()
        self._floor = 0

    def note(self, name: str, tick: int, by: bytes = b"") -> None:
        """Note that it happened to *name* at *tick*, done *by* the load of that token."""
        self._last[name] = tick, by
        self._last.move_to_end(name)
        if len(self._last) > _REMEMBERED:
            self._floor = self._last.popitem(last=False)[1][0]

    def after(self, name: str, mark: int, but_by: bytes | None = None) -> bool:
        """Tell whether it happened to *name* after *mark*, or may have; not if *but_by* did it last."""
        tick, by = self._last.get(name, (self._floor, b""))
        return tick > mark and by != but_by


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
        self._gone_keys = _Remembered()
        self._gone_tags = _Remembered()
        self._replaced = _Remembered()
        self._softened = Softened()

    def get(self, key: str) -> Slot | None:
        """Return the slot of *key*, whatever its state; None if there is none."""
        slot = self._slots.get(key)
        if slot is not None:
            with self._lock:
                if key in self._slots:
                    self._slots.move_to_end(key)
        return slot

    def has(self, key: str) -> bool:
        """Tell whether *key* has a slot, whatever its state."""
        return key in self._slots

    def mark(self) -> int:
        """Return now, to give to `put` later: nanoseconds on the monotonic clock."""
        return time.monotonic_ns()

    def put(self, slot: Slot, mark: int) -> bool:
        """Keep *slot*, unless one of its names was invalidated after *mark*; tell whether it was kept."""
        with self._lock:
            kept = self._put(slot, mark)
            self._evict()
            return kept

    def put_all(self, slots: Iterable[Slot], mark: int) -> None:
        """Keep *slots*, each as `put` does."""
        with self._lock:
            for slot in slots:
                self._put(slot, mark)
            self._evict()

    def settle(self, key: str, before: Callable[[], Any], take: Callable[[], Any], held_bytes: int) -> None:
        """Let the slot of *key*, if it hands out its value by *before*, do so by *take*.

        Args:
            held_bytes: what *take* holds beside the payload.
        """
        with self._lock:
            slot = self._slots.get(key)
            if slot is not None and slot.take is before:
                slot.take = take
                slot.size += held_bytes
                self._bytes += held_bytes
                self._evict()

    def _put(self, slot: Slot, mark: int) -> bool:
        if mark != self._tick:  # else nothing has happened since
            if self._ended(slot, mark) or self._replaced.after(slot.key, mark, slot.entry.token):
                return False
            if (moment := self._softened.stale_since(slot.entry, mark)) is not None:
                slot.expire(moment)
        key, size = slot.key, slot.size
        if key in self._slots:
            self._remove(key)
        if size > self._max_bytes:
            return True
        self._slots[key] = slot
        self._bytes += size
        for tag, _, _ in slot.entry.tags:
            if (keys := self._by_tag.get(tag)) is None:
                self._by_tag[tag] = {key}
            else:
                keys.add(key)
        return True

    def _evict(self) -> None:
        while self._bytes > self._max_bytes:
            self._remove(next(iter(self._slots)))
            metrics.evictions.labels("l1").inc()

    def passed(self, slot: Slot, mark: int) -> bool:
        """Tell whether one of the names of *slot* was (or may have been) invalidated after *mark*."""
        with self._lock:
            return self._ended(slot, mark) or self._softened.stale_since(slot.entry, mark) is not None

    def ended(self, slot: Slot, mark: int) -> bool:
        """Tell whether *slot* may not even be served as stale, as `passed` and not softly."""
        with self._lock:
            return self._ended(slot, mark)

    def invalidate(self, tags: Iterable[str], since: Version | None = None) -> None:
        """Drop what carries one of *tags*; with *since*, unless it was made under that version or later."""
        with self._lock:
            for tag in tags:
                self._gone_tags.note(tag, self._next_tick())
                for key in tuple(self._by_tag.get(tag, ())):
                    if since is None or precedes(self._slots[key].entry, tag, since):
                        self._remove(key)

    def soften(self, tags: Iterable[str], moment: float, since: Version | None = None) -> None:
        """Let what carries one of *tags* be stale from *moment* on; *since* as of `invalidate`."""
        with self._lock:
            for tag in tags:
                self._softened.note(tag, self._next_tick(), moment, since)
                for key in self._by_tag.get(tag, ()):
                    if since is None or precedes(self._slots[key].entry, tag, since):
                        self._slots[key].expire(moment)

    def delete(self, keys: Iterable[str]) -> int:
        """Drop *keys*; return how many there were."""
        with self._lock:
            gone = 0
            for key in keys:
                self._gone_keys.note(key, self._next_tick())
                gone += self._remove(key)
            return gone

    def replaced(self, key: str, token: bytes) -> None:
        """Drop the slot of *key*, or one on its way, unless the load of *token*, the newest, made it."""
        with self._lock:
            self._replaced.note(key, self._next_tick(), token)
            slot = self._slots.get(key)
            if slot is not None and slot.entry.token != token:
                self._remove(key)

    def drop(self, key: str) -> None:
        """Forget the slot of *key*, which was found to count no more."""
        with self._lock:
            self._remove(key)

    def clear(self) -> None:
        """Drop everything, and everything that is on its way."""
        with self._lock:
            self._floor = self._next_tick()
            self._slots.clear()
            self._by_tag.clear()
            self._bytes = 0

    def slots(self) -> tuple[Slot, ...]:
        """Return all slots that there are now."""
        with self._lock:
            return tuple(self._slots.values())

    def sizes(self) -> tuple[int, int]:
        """Return how many slots there are, and their bytes."""
        return len(self._slots), self._bytes

    def _ended(self, slot: Slot, mark: int) -> bool:
        if self._floor > mark or self._gone_keys.after(slot.key, mark):
            return True
        return any(self._gone_tags.after(tag, mark) for tag, _, _ in slot.entry.tags)

    def _next_tick(self) -> int:
        self._tick = max(self._tick + 1, time.monotonic_ns())
        return self._tick

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
