"""L1: this process' own copies, bounded in bytes, and what it takes to never serve one too many.

An entry is put here after a read or a load that took a while; an invalidation may have passed meanwhile.
So whoever is about to read takes a `mark`, and `put` refuses an entry if one of its names was invalidated
after that mark; was it softly, the entry is kept as stale.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cache_ext import metrics
from cache_ext.entry import Version
from cache_ext.reading.remembered import Remembered
from cache_ext.reading.shelf import Shelf
from cache_ext.reading.slot import Slot
from cache_ext.reading.softened import Softened, precedes


def _unheard(key: str, size: int) -> None:
    """Tell nobody."""


class NearCache:
    """Slots by key, dropped by key or tag. Reading takes no lock and moves nothing.

    Args:
        max_bytes: bound of the slots' sizes and of what it takes to order them; 0 keeps nothing.
        monotonic: the clock, seconds.
        evicted: called with key and size of each slot that made room, while no lock is held; must not raise.
    """

    def __init__(
        self,
        max_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
        evicted: Callable[[str, int], None] = _unheard,
    ) -> None:
        self.keeps = max_bytes > 0
        """Whether there is room for anything."""
        self._evicted = evicted
        self._lock = threading.Lock()
        self._shelf = Shelf(max_bytes, monotonic)
        self._slots = self._shelf.slots
        self._tick = 0
        self._floor = 0
        self._gone_keys = Remembered()
        self._gone_tags = Remembered()
        self._replaced = Remembered()
        self._softened = Softened()

    def get(self, key: str) -> Slot | None:
        """Return the slot of *key*, whatever its state; None if there is none."""
        slot = self._slots.get(key)
        if slot is not None:
            slot.asked = True
        return slot

    def has(self, key: str) -> bool:
        """Tell whether *key* has a slot, whatever its state."""
        return key in self._slots

    def held(self, keys: Iterable[str]) -> set[str]:
        """Return those of *keys* that have a slot, whatever its state."""
        return set(filter(self._slots.__contains__, keys)) if self._slots else set()

    def mark(self) -> int:
        """Return now, to give to `put` later: nanoseconds on the monotonic clock."""
        return time.monotonic_ns()

    def put(self, slot: Slot, mark: int) -> bool:
        """Keep *slot*, unless one of its names was invalidated after *mark*; tell whether it was kept."""
        return self.put_all((slot,), mark) == 1

    def put_all(self, slots: Sequence[Slot], mark: int) -> int:
        """Keep *slots*, each as `put` does; return how many were not refused."""
        gone: list[Slot] = []
        with self._lock:
            if mark < self._tick:  # else nothing has happened since
                slots = [slot for slot in slots if self._admits(slot, mark)]
            if new := [slot for slot in slots if self._slots.get(slot.key) is not slot]:
                self._shelf.add(new, gone)
        self._tell(gone)
        return len(slots)

    def settle(self, key: str, before: Callable[[], Any], take: Callable[[], Any], held_bytes: int) -> None:
        """Let the slot of *key*, if it hands out its value by *before*, do so by *take*.

        Args:
            held_bytes: what *take* holds beside the payload.
        """
        gone: list[Slot] = []
        with self._lock:
            slot = self._slots.get(key)
            if slot is not None and slot.take is before:
                slot.take = take
                self._shelf.grow(slot, held_bytes, gone)
        self._tell(gone)

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
                for key in tuple(self._shelf.tagged(tag)):
                    if since is None or precedes(self._slots[key].entry, tag, since):
                        self._shelf.remove(key)

    def soften(self, tags: Iterable[str], moment: float, since: Version | None = None) -> None:
        """Let what carries one of *tags* be stale from *moment* on; *since* as of `invalidate`."""
        with self._lock:
            for tag in tags:
                self._softened.note(tag, self._next_tick(), moment, since)
                for key in self._shelf.tagged(tag):
                    if since is None or precedes(self._slots[key].entry, tag, since):
                        self._slots[key].expire(moment)

    def delete(self, keys: Iterable[str]) -> int:
        """Drop *keys*; return how many there were."""
        with self._lock:
            gone = 0
            for key in keys:
                self._gone_keys.note(key, self._next_tick())
                gone += self._shelf.remove(key)
            return gone

    def replaced(self, key: str, token: bytes) -> None:
        """Drop the slot of *key*, or one on its way, unless the load of *token*, the newest, made it."""
        with self._lock:
            self._replaced.note(key, self._next_tick(), token)
            slot = self._slots.get(key)
            if slot is not None and slot.entry.token != token:
                self._shelf.remove(key)

    def drop(self, key: str) -> None:
        """Forget the slot of *key*, which was found to count no more."""
        with self._lock:
            self._shelf.remove(key)

    def clear(self) -> None:
        """Drop everything, and everything that is on its way."""
        with self._lock:
            self._floor = self._next_tick()
            self._shelf.clear()

    def slots(self) -> tuple[Slot, ...]:
        """Return all slots that there are now."""
        with self._lock:
            return tuple(self._slots.values())

    def sizes(self) -> tuple[int, int]:
        """Return how many slots there are, and the bytes that they and their order take."""
        with self._lock:
            return len(self._slots), self._shelf.taken_bytes

    def _ended(self, slot: Slot, mark: int) -> bool:
        if self._floor > mark or self._gone_keys.after(slot.key, mark):
            return True
        return any(self._gone_tags.after(tag, mark) for tag, _, _ in slot.entry.tags)

    def _next_tick(self) -> int:
        self._tick = max(self._tick + 1, time.monotonic_ns())
        return self._tick

    def _admits(self, slot: Slot, mark: int) -> bool:
        """Tell whether *slot* counts in spite of what has happened since *mark*; it may be stale now.

        If it does not, what lies in its place goes: *slot* may be what this process has just written, and
        whoever wrote it must not find what was there before.
        """
        if self._ended(slot, mark) or self._replaced.after(slot.key, mark, slot.entry.token):
            self._shelf.remove(slot.key)
            return False
        if (moment := self._softened.stale_since(slot.entry, mark)) is not None:
            slot.expire(moment)
        return True

    def _tell(self, gone: list[Slot]) -> None:
        for slot in gone:
            metrics.evictions.labels("l1").inc()
            self._evicted(slot.key, slot.size)
