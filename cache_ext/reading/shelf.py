"""Slots and arrivals within a bound of bytes. Not locked: who uses it holds one lock for all of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from cache_ext.reading.arrivals import Arrivals, Batch
from cache_ext.reading.eviction import GHOST_ROOM_BYTES, QUEUE_BYTES, TICKET_BYTES, Ranking
from cache_ext.reading.expiry import DEADLINE_BYTES, Deadlines
from cache_ext.reading.slot import Slot

PLACE_BYTES = max(QUEUE_BYTES, TICKET_BYTES) + GHOST_ROOM_BYTES + DEADLINE_BYTES
"""What a slot may need beside its own size."""

Gone = list[tuple[str, int]]
"""Keys of what made room, and their bytes."""


class Shelf:
    """Slots, who of them goes first, and what all of it takes.

    Args:
        max_bytes: bound of their sizes and of what it takes to order them; 0 keeps nothing.
        monotonic: the clock, seconds.
    """

    def __init__(self, max_bytes: int, monotonic: Callable[[], float]) -> None:
        self.slots: dict[str, Slot] = {}
        self.arrivals = Arrivals(max_bytes)
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._ranking = Ranking(self.slots, max_bytes)
        self._deadlines = Deadlines(self.slots)
        self._by_tag: dict[str, set[str]] = {}
        self._bytes = 0

    @property
    def taken_bytes(self) -> int:
        """What slots, their order, and arrivals take."""
        return self._bytes + self._ranking.bytes + self._deadlines.bytes + self.arrivals.bytes

    def tagged(self, tag: str) -> Collection[str]:
        """Return the keys of the slots that carry *tag*; not to be kept while slots come or go."""
        return self._by_tag.get(tag, ())

    def add(self, slots: Sequence[Slot], gone: Gone) -> None:
        """Take *slots* in, each instead of another of its key; add to *gone* who made room.

        One that is too large is not added. Who was past all use is not in *gone*: it was nobody's loss.
        """
        needed = sum([slot.size for slot in slots]) + PLACE_BYTES * len(slots)
        if needed > self._max_bytes:
            if len(slots) == 1:
                self.remove(slots[0].key)
            else:
                for slot in slots:
                    self.add((slot,), gone)
            return
        self._make_room(needed, gone)
        for slot in slots:
            key = slot.key
            if key in self.slots:
                self.remove(key)
            self.slots[key] = slot
            self._bytes += slot.size
            for tag, _, _ in slot.entry.tags:
                if (keys := self._by_tag.get(tag)) is None:
                    self._by_tag[tag] = {key}
                else:
                    keys.add(key)
            self._ranking.enter(slot)
            self._deadlines.add(slot)
        self._deadlines.sweep()
        self.arrivals.drop([slot.key for slot in slots])

    def expect(self, blobs: Mapping[str, bytes], batch: Batch, gone: Gone) -> None:
        """Take *blobs* in, by key, instead of whatever is there; add to *gone* who made room."""
        for key in filter(self.slots.__contains__, blobs) if self.slots else ():
            self.remove(key)
        self.arrivals.add(blobs, batch)
        self._make_room(0, gone)

    def grow(self, slot: Slot, size: int, gone: Gone) -> None:
        """Count *slot*, which is here, with *size* bytes more; add to *gone* who made room."""
        self._ranking.grow(slot, size)
        self._bytes += size
        self._make_room(0, gone)

    def remove(self, key: str) -> bool:
        """Take what is there of *key* out; tell whether there was anything."""
        slot = self.slots.get(key)
        if slot is None:
            return bool(self.arrivals.drop([key]))
        self._ranking.leave(slot)
        self._forget(slot)
        return True

    def clear(self) -> None:
        """Take everything out, memories too."""
        self.slots.clear()
        self.arrivals.clear()
        self._ranking.clear()
        self._deadlines.clear()
        self._by_tag.clear()
        self._bytes = 0

    def _make_room(self, needed: int, gone: Gone) -> None:
        while self.taken_bytes + needed > self._max_bytes:
            past = self._deadlines.past(self._monotonic())
            if past is not None:
                self.remove(past.key)
            elif (slot := self._ranking.evict()) is not None:
                self._forget(slot)
                gone.append((slot.key, slot.size))
            elif self.arrivals.waiting:
                gone += self.arrivals.drop(self.arrivals.first())
            else:  # nothing is left but memories
                self.clear()
                break

    def _forget(self, slot: Slot) -> None:
        del self.slots[slot.key]
        self._bytes -= slot.size
        self._deadlines.sweep()
        for tag, _, _ in slot.entry.tags:
            keys = self._by_tag.get(tag)
            if keys is not None:
                keys.discard(slot.key)
                if not keys:
                    del self._by_tag[tag]
