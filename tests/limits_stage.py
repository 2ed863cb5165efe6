"""What tests of limits share: limiters that go by a clock of the test, and a judge of what they admit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cache_ext import TieredCache
from cache_ext.limits.limiter import Limiter

EPOCH = 1_700_000_000_000
"""Unix ms at which tests begin."""


@dataclass
class Hand:
    """A clock that shows what it is set to, Unix ms."""

    ms: int = EPOCH

    def time(self) -> float:
        """Return Unix seconds; a thousandth is exact enough to come back as the same ms."""
        return (self.ms + 0.5) / 1000

    def monotonic(self) -> float:
        """Return seconds of a clock that began with the test."""
        return (self.ms - EPOCH + 0.5) / 1000 + 1000


def limiter_on(cache: TieredCache, hand: Hand | None = None, host_dir: Path | None = None) -> Limiter:
    """Return a limiter that counts in the Redis of *cache*, by *hand* if given."""
    settings = replace(cache.settings, host_dir=host_dir)
    clocks: dict[str, Any] = {} if hand is None else {"clock": hand.time, "monotonic": hand.monotonic}
    return Limiter(cache.gateway, settings, start=cache.runtime.start, **clocks)


@dataclass
class Log:
    """What was admitted and refused, each with its time in ms and its cost."""

    window_ms: int
    admitted: list[tuple[int, int]] = field(default_factory=list)
    refused: list[tuple[int, int]] = field(default_factory=list)

    def within(self, first: int, last: int) -> int:
        """Return the units admitted from *first* to *last*, both included."""
        return sum(cost for at, cost in self.admitted if first <= at <= last)

    def most(self) -> int:
        """Return the most units in any trailing window, which begins just after what is a window old."""
        return max((self.within(at - self.window_ms + 1, at) for at, _ in self.admitted), default=0)

    def unjust(self, limit: int, granularity_ms: int) -> Iterable[tuple[int, int]]:
        """Return refusals for which there was room, even counting all that left the window just now."""
        for at, cost in self.refused:
            if self.within(at - self.window_ms - granularity_ms + 1, at) + cost <= limit:
                yield at, cost
