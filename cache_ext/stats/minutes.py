"""What this process counted, minute by minute, and which of it others have not been told yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from cache_ext.stats.counts import Field

HOUR = 60
"""Minutes that are looked back on, besides the one under way."""
MINUTE = 60.0
"""Seconds."""


class Packet(NamedTuple):
    """What is told of one minute. It stays as it is until it arrived: told twice, it counts once.

    Args:
        minute: since 1970.
        number: later packets of this process have higher ones.
        counts: that were added.
    """

    minute: int
    number: int
    counts: Mapping[Field, int]


class Minutes:
    """Sorts counts by minutes. Not locked: who uses it does."""

    def __init__(self) -> None:
        self.mine: dict[int, Counter[Field]] = {}
        """What was counted here, by minute."""
        self._last: Mapping[Field, int] = {}
        self._waiting: dict[int, Counter[Field]] = {}
        self._packets: tuple[Packet, ...] = ()
        self._number = 0

    def note(self, totals: Mapping[Field, int], minute: int) -> None:
        """Count what was added to *totals* since the last time in *minute*."""
        added = {field: count - self._last.get(field, 0) for field, count in totals.items()}
        self._last = totals
        self.add(minute, {field: count for field, count in added.items() if count > 0})
        for known in (self.mine, self._waiting):
            for old in [each for each in known if abs(minute - each) > HOUR]:  # or the clock was set
                del known[old]

    def add(self, minute: int, counts: Mapping[Field, int]) -> None:
        """Count *counts* in *minute*."""
        if counts:
            self.mine.setdefault(minute, Counter()).update(counts)
            self._waiting.setdefault(minute, Counter()).update(counts)

    def packets(self) -> tuple[Packet, ...]:
        """Return what is to be told now: what was and may not have arrived, else what came since."""
        if not self._packets:
            for minute, counts in self._waiting.items():
                self._number += 1
                self._packets += (Packet(minute, self._number, counts),)
            self._waiting = {}
        return self._packets

    def arrived(self) -> None:
        """Note that the packets have arrived."""
        self._packets = ()
