"""Which slot makes room: first who was asked for once only, then the large and idle.

A new key is on probation, in a queue that has a tenth of the bytes. At its end a slot that was asked for
meanwhile is ranked among the others; one that was not goes, and only a fingerprint of its key is remembered
for a while, as a ghost: what comes back as a ghost is ranked at once. So a scan passes through the queue and
touches nothing else. A ranked slot stands at the age at which it came, plus one by its size: each of its
bytes has to earn its place. The lowest is looked at; if it was asked for since, it is ranked anew, else it
goes, and its rank is the new age. A hit moves nothing: it sets a flag.

Source: probation and ghosts, Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023;
ranks, Cao and Irani, "Cost-aware WWW proxy caching algorithms" (GreedyDual-Size), USITS 1997.
"""

from __future__ import annotations

import heapq
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Mapping

from cache_ext.reading.slot import Slot

PROBATION_SHARE = 0.1
"""Share of the bytes that slots on probation keep when there is too little room for all."""
GHOSTS_PER_SLOT = 2
"""Ghosts that there is room for, for each slot that there is; half to twice as many."""
GHOST_ROOM_BYTES = 12
"""What a slot's ghosts may come to take, counted from the first so that they never find too little room."""
QUEUE_BYTES = 80
"""Measured cost of a place in the queue (tests/test_near.py)."""
TICKET_BYTES = 130
"""Measured cost of a place among the ranked."""
_SPARE = 1.25
"""Tickets for each ranked slot, before those of slots that left are swept out: bytes against time."""
_DEAD_TICKETS = 8
"""So many tickets of slots that left may lie about, however few are ranked."""


def _fingerprint(key: str) -> int:
    """Return 32 bits of *key*, never 0: the same in every process, so that what is seen can be seen again."""
    return zlib.crc32(key.encode(errors="replace")) or 1


class Ghosts:
    """Fingerprints of the keys that went lately, in a table where later ones overwrite earlier ones."""

    def __init__(self) -> None:
        self._table = array("I")

    @property
    def bytes(self) -> int:
        """What the table takes."""
        return len(self._table) * self._table.itemsize

    def add(self, key: str, most: int) -> None:
        """Remember *key*, in a table for some *most* keys."""
        if not most <= 2 * len(self._table) <= 4 * most:
            self._table = array("I", bytes(most * self._table.itemsize))
        mark = _fingerprint(key)
        self._table[mark % len(self._table)] = mark

    def take(self, key: str) -> bool:
        """Forget *key*; tell whether it was remembered."""
        if not self._table:
            return False
        mark = _fingerprint(key)
        place = mark % len(self._table)
        found = self._table[place] == mark
        if found:
            self._table[place] = 0
        return found


class Ranking:
    """The order in which slots make room. It is not locked: who uses it holds one lock for all of it.

    Args:
        slots: by key, all that have entered and not left; the user's own, and up to date.
        max_bytes: that all of it may take.
    """

    def __init__(self, slots: Mapping[str, Slot], max_bytes: int) -> None:
        self._slots = slots
        self._share = max_bytes * PROBATION_SHARE
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._queue: OrderedDict[str, None] = OrderedDict()
        self._queue_bytes = 0
        self._tickets: list[tuple[float, int, str]] = []
        self._last_ticket = 0
        self._age = 0.0
        self._ghosts = Ghosts()

    @property
    def bytes(self) -> int:
        """What the order itself takes."""
        ghosts = max(GHOST_ROOM_BYTES * len(self._slots), self._ghosts.bytes)
        return QUEUE_BYTES * len(self._queue) + TICKET_BYTES * len(self._tickets) + ghosts

    def enter(self, slot: Slot) -> None:
        """Give *slot*, whose key is new, a place."""
        slot.asked, slot.ticket = False, 0
        if self._ghosts.take(slot.key):
            self._rank(slot)
        else:
            self._queue[slot.key] = None
            self._queue_bytes += slot.size

    def grow(self, slot: Slot, size: int) -> None:
        """Count *slot* with *size* bytes more; its place stays."""
        slot.size += size
        if not slot.ticket:
            self._queue_bytes += size

    def leave(self, slot: Slot) -> None:
        """Take the place of *slot*, which goes for another reason than space.

        Its key is remembered if it was in demand: so it is still when the value expired or was invalidated.
        """
        earned = slot.asked or slot.ticket > 0
        if slot.ticket:
            slot.ticket = 0
            self._sweep()
        else:
            del self._queue[slot.key]
            self._queue_bytes -= slot.size
        if earned:
            self._remember(slot.key)

    def evict(self) -> Slot | None:
        """Return the slot whose turn it is to go, its place taken; None if there is none."""
        while self._queue or self._tickets:
            queued = self._queue and (self._queue_bytes > self._share or not self._tickets)
            slot = self._from_queue() if queued else self._lowest()
            if slot is not None:
                return slot
        return None

    def _from_queue(self) -> Slot | None:
        """Return who stood longest in the queue, unless he is ranked instead."""
        key, _ = self._queue.popitem(last=False)
        slot = self._slots[key]
        self._queue_bytes -= slot.size
        if slot.asked:
            self._rank(slot)
            return None
        self._remember(key)
        return slot

    def _lowest(self) -> Slot | None:
        """Return the lowest of the ranked, unless he is gone already, or ranked anew."""
        rank, ticket, key = heapq.heappop(self._tickets)
        slot = self._slots.get(key)
        if slot is None or slot.ticket != ticket:
            return None
        if slot.asked:
            self._rank(slot)
            return None
        slot.ticket = 0
        self._age = rank
        self._sweep()
        return slot

    def _rank(self, slot: Slot) -> None:
        self._last_ticket += 1
        slot.asked, slot.ticket = False, self._last_ticket
        heapq.heappush(self._tickets, (self._age + 1 / slot.size, slot.ticket, slot.key))

    def _remember(self, key: str) -> None:
        self._ghosts.add(key, GHOSTS_PER_SLOT * len(self._slots) + 1)

    def _sweep(self) -> None:
        """Keep the tickets of slots that left few beside those of slots that are here."""
        ranked = len(self._slots) - len(self._queue)
        if len(self._tickets) > _SPARE * ranked + _DEAD_TICKETS:
            self._tickets = [each for each in self._tickets if self._lives(each)]
            heapq.heapify(self._tickets)

    def _lives(self, ticket: tuple[float, int, str]) -> bool:
        slot = self._slots.get(ticket[2])
        return slot is not None and slot.ticket == ticket[1]
