"""Which slots are past all use: they make room before any that is not."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from cache_ext.reading.slot import Slot

DEADLINE_BYTES = 70
"""Measured cost of a deadline (tests/test_near.py)."""
_SPARE = 1.25
"""Deadlines for each slot, before those of slots that left are swept out: bytes against time."""
_DEAD_DEADLINES = 8
"""So many deadlines of slots that left may lie about, however few slots there are."""


class Deadlines:
    """Slots by the moment from which they may not even be served stale. Not locked, as `Ranking`.

    Args:
        slots: by key, all that count; the user's own, and up to date.
    """

    def __init__(self, slots: Mapping[str, Slot]) -> None:
        self._slots = slots
        self._deadlines: list[tuple[float, str]] = []

    def clear(self) -> None:
        """Forget everything."""
        self._deadlines.clear()

    @property
    def bytes(self) -> int:
        """What the deadlines take."""
        return DEADLINE_BYTES * len(self._deadlines)

    def add(self, slot: Slot) -> None:
        """Note when *slot*, which is among the slots, ends."""
        heapq.heappush(self._deadlines, (slot.stale_until, slot.key))

    def sweep(self) -> None:
        """Keep the deadlines of slots that left few beside those of slots that are here."""
        if len(self._deadlines) > _SPARE * len(self._slots) + _DEAD_DEADLINES:
            self._deadlines = [(slot.stale_until, key) for key, slot in self._slots.items()]
            heapq.heapify(self._deadlines)

    def past(self, now: float) -> Slot | None:
        """Return a slot that ended before *now*, None if there is none; what it is found by is gone then."""
        while self._deadlines and self._deadlines[0][0] <= now:
            slot = self._slots.get(heapq.heappop(self._deadlines)[1])
            if slot is not None and slot.stale_until <= now:
                return slot
        return None
