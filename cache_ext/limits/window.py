"""The arithmetic of a window: what is used, what is left, when it frees. It is that of ``lua/admit.lua``."""

from __future__ import annotations

from cache_ext.limits.decision import NEVER, SLICES, Answer


class Window:
    """Units by slice, the oldest first.

    Args:
        items: number of the slice and units in it, in order.
    """

    __slots__ = ("items",)

    def __init__(self, items: list[tuple[int, int]] | None = None) -> None:
        self.items = items or []

    @property
    def used(self) -> int:
        """The units that count."""
        return sum(units for _, units in self.items)

    def admit(self, now: int, limit: int, cost: int, width: int) -> Answer:
        """Take *cost* units if they are there.

        Args:
            now: milliseconds.
            width: of a slice, milliseconds.
        """
        slice_ = self._advance(now // width)
        ready, used = 0, self.used
        if used + cost <= limit:
            used += cost
            self._add(slice_, cost)
        else:
            ready = NEVER if cost > limit else self._free_at(used + cost - limit, slice_, width)
        frees = self._free_at(1, slice_, width) if used else 0
        return Answer(now, max(0, limit - used), frees, ready)

    def _advance(self, slice_: int) -> int:
        """Drop what has left the window that ends with *slice_*; return the slice that counts as now."""
        last = self.items[-1][0] if self.items else 0
        if last > slice_ + SLICES:
            self.items = []
        slice_ = max(slice_, self.items[-1][0] if self.items else 0)
        self.items = [item for item in self.items if slice_ - SLICES <= item[0] <= slice_]
        return slice_

    def _add(self, slice_: int, cost: int) -> None:
        if cost and self.items and self.items[-1][0] == slice_:
            self.items[-1] = (slice_, self.items[-1][1] + cost)
        elif cost:
            self.items.append((slice_, cost))

    def _free_at(self, need: int, slice_: int, width: int) -> int:
        for number, units in self.items:
            need -= units
            if need <= 0:
                return (number + SLICES + 1) * width
        return (slice_ + SLICES + 1) * width
