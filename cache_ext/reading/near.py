"""L1: this process' own copies, bounded in bytes, and what it takes to never serve one too many.

An entry is put here after a read or a load that took a while; an invalidation may have passed meanwhile.
So whoever is about to read takes a `mark`, and `put` refuses an entry if one of its names was invalidated
after that mark; was it softly, the entry is kept as stale. What a batch brings is only laid down as it came,
and is put, under the mark that it came with, when somebody asks for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from cache_ext import metrics
from cache_ext.entry import Version
from cache_ext.reading.arrivals import Batch
from cache_ext.reading.remembered import Remembered
from cache_ext.reading.shelf import Gone, Shelf
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
        self._arrivals = self._shelf.arrivals.waiting
        self._tick = 0
        self._floor = 0
        self._gone_keys = Remembered()
        self._gone_tags = Remembered()
        self._replaced = Remembered()
        self._softened = Softened()

    def get(self, key: str) -> Slot | None:
        """Return the slot of *key*, whatever its state; None if there is none."""
        slot = self._slots.get(key)
        if slot is None:
            slot = self._arrived(key) if key in self._arrivals else self._slots.get(key)  # it came just now
        if slot is not None:
            slot.asked = True
        return slot

    def has(self, key: str) -> bool:
        """Tell whether there is anything of *key*, whatever its state."""
        return key in self._slots or key in self._arrivals

    def held(self, keys: Collection[str]) -> set[str]:
        """Return those of *keys* of which there is anything, whatever its state."""
        held = set(filter(self._slots.__contains__, keys)) if self._slots else set()
        if self._arrivals:
            held.update(filter(self._arrivals.__contains__, keys))
        return held

    def mark(self) -> int:
        """Return now, to give to `put` later: nanoseconds on the monotonic clock."""
        return time.monotonic_ns()

    def put(self, slot: Slot, mark: int) -> bool:
        """Keep *slot*, unless one of its names was invalidated after *mark*; tell whether it was kept."""
        return self.put_all((slot,), mark) == 1

    def put_all(self, slots: Sequence[Slot], mark: int) -> int:
        """Keep *slots*, each as `put` does; return how many were not refused."""
        gone: Gone = []
        with self._lock:
            kept = self._put(slots, mark, gone)
        self._tell(gone)
        return kept

    def expect(self, blobs: Mapping[str, bytes], batch: Batch) -> None:
        """Have what `batch.slot` makes of *blobs*, by key, put here when it is asked for, under its mark."""
        gone: Gone = []
        with self._lock:
            self._shelf.expect(blobs, batch, gone)
            while self._shelf.arrivals.too_many:
                for key in self._shelf.arrivals.first():
                    self._settle_in(key, gone)
        self._tell(gone)

    def settle(self, key: str, before: Callable[[], Any], take: Callable[[], Any], held_bytes: int) -> None:
        """Let the slot of *key*, if it hands out its value by *before*, do so by *take*.

        Args:
            held_bytes: what *take* holds beside the payload.
        """
        gone: Gone = []
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
        gone: Gone = []
        with self._lock:
            for key in list(self._arrivals):
                self._settle_in(key, gone)
            slots = tuple(self._slots.values())
        self._tell(gone)
        return slots

    def sizes(self) -> tuple[int, int]:
        """Return how many keys there are, and the bytes that they and their order take."""
        with self._lock:
            return len(self._slots) + len(self._arrivals), self._shelf.taken_bytes

    def _arrived(self, key: str) -> Slot | None:
        """Return the slot of *key*, which came and was not asked for until now."""
        gone: Gone = []
        with self._lock:
            self._settle_in(key, gone)
            slot = self._slots.get(key)
        self._tell(gone)
        return slot

    def _settle_in(self, key: str, gone: Gone) -> None:
        """Put what came for *key*, unless one of its names was invalidated since; for who holds the lock.

        The slot is there before the arrival is not: who asks without the lock finds one of them.
        """
        if (arrival := self._shelf.arrivals.take(key)) is not None:
            blob, batch = arrival
            self._put([batch.slot(key, blob)], batch.mark, gone)
            self._shelf.arrivals.drop([key])

    def _put(self, slots: Sequence[Slot], mark: int, gone: Gone) -> int:
        """Keep *slots*, as `put_all` does; for who holds the lock."""
        if mark < self._tick:  # else nothing has happened since
            slots = [slot for slot in slots if self._admits(slot, mark)]
        if new := [slot for slot in slots if self._slots.get(slot.key) is not slot]:
            self._shelf.add(new, gone)
        return len(slots)

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

    def _tell(self, gone: Gone) -> None:
        for key, size in gone:
            metrics.evictions.labels("l1").inc()
            self._evicted(key, size)
