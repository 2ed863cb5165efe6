"""Durations in fixed buckets, which add up over processes and minutes, and the quantiles of them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping

from cache_ext.tally import Tally

SHORTEST, LONGEST = 10e-6, 100.0
"""Seconds. What is shorter or longer counts as these."""
PER_DOUBLING = 4
"""Buckets for each doubling: a quantile is off by a tenth at most."""
_FACTOR = 2 ** (1 / PER_DOUBLING)
BOUNDS = tuple(
    SHORTEST * _FACTOR**number for number in range(math.ceil(math.log(LONGEST / SHORTEST, _FACTOR)))
)
"""Upper bounds of all buckets but the last, seconds."""
_NAMES = tuple(str(number) for number in range(len(BOUNDS) + 1))


class Durations:
    """How long things took, by name."""

    def __init__(self) -> None:
        self.tally = Tally()
        """By name and number of the bucket."""

    def observe(self, name: str, seconds: float) -> None:
        """Count one that took *seconds*."""
        self.tally.count(name, _NAMES[bisect_left(BOUNDS, seconds)])


def typical(bucket: int) -> float:
    """Return what durations of the bucket of that number took, seconds: the middle of its bounds."""
    return SHORTEST * math.pow(_FACTOR, min(max(bucket, 0), len(BOUNDS)) - 0.5)


def total(counts: Mapping[int, int]) -> float:
    """Return how long all took together, seconds, given how many there are by bucket."""
    return math.fsum(typical(bucket) * count for bucket, count in counts.items())


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """Return what *share* (0 to 1) of them did not exceed, seconds; None if there are none.

    Args:
        counts: how many there are, by bucket.
    """
    wanted = max(1, math.ceil(share * sum(counts.values())))
    passed = 0
    for bucket in sorted(counts):
        passed += counts[bucket]
        if passed >= wanted:
            return typical(bucket)
    return None
