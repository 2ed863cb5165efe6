"""Seeded courses of requests: skewed, shifting, scanned, of mixed sizes, expiring, invalidated."""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Iterator
from typing import NamedTuple

SCAN = 100
"""Keys of a scan, which nobody asks for again."""
SMALLEST, LARGEST = 200, 100_000
"""Bytes of a value where sizes are mixed: as many of each order of magnitude."""
USUAL = 1_000
FOREVER = 1e9
SHORTEST, LONGEST = 5.0, 60.0
"""Seconds that values live where they expire."""


class Request(NamedTuple):
    """A read, or an invalidation.

    Args:
        at: seconds since the beginning.
        key: what is read.
        size: bytes of its value; 0 for an invalidation.
        ttl: seconds that the value lives if it is loaded now.
    """

    at: float
    key: str
    size: int
    ttl: float


class Mix(NamedTuple):
    """What is added to a plain skewed course.

    Args:
        scan_every: requests between two scans, 0 for none.
        shifts: how often other keys become the popular ones.
        mixed: whether sizes are.
        expiring: whether values expire.
        invalidate_every: requests between two invalidations of some five popular keys, 0 for none.
        rate: requests a second.
    """

    scan_every: int = 0
    shifts: int = 0
    mixed: bool = False
    expiring: bool = False
    invalidate_every: int = 0
    rate: float = 1_000.0


class Trace:
    """Requests whose popularity follows Zipf's law: the n-th key is asked for in proportion to n ** -skew.

    Args:
        skew: Zipf's exponent.
        keys: how many there are, scanned ones aside.
        length: requests, scanned ones aside.
        mix: what is added.
    """

    def __init__(self, skew: float, keys: int, length: int, mix: Mix, seed: int = 1) -> None:
        self._random = draw = random.Random(seed)
        self._mix = mix
        self._keys = keys
        self._heights = list(itertools.accumulate(rank**-skew for rank in range(1, keys + 1)))
        self._order = draw.sample(range(keys), keys)
        low, high = math.log(SMALLEST), math.log(LARGEST)
        self._sizes = [int(math.exp(draw.uniform(low, high))) if mix.mixed else USUAL for _ in range(keys)]
        self._ttls = [draw.uniform(SHORTEST, LONGEST) if mix.expiring else FOREVER for _ in range(keys)]
        self.requests = list(self._requests(length))

    @property
    def sizes(self) -> list[int]:
        """The bytes of all values, scanned ones aside."""
        return self._sizes

    def _requests(self, length: int) -> Iterator[Request]:
        mix, scanned = self._mix, 0
        for number in range(length):
            at = number / mix.rate
            if mix.scan_every and number % mix.scan_every == mix.scan_every - 1:
                for _ in range(SCAN):
                    scanned += 1
                    yield Request(at, f"scan:{scanned}", self._sizes[scanned % self._keys], FOREVER)
            if mix.invalidate_every and number % mix.invalidate_every == 0:
                for _ in range(5):
                    yield Request(at, f"key:{self._drawn(number, length)}", 0, 0.0)
            key = self._drawn(number, length)
            yield Request(at, f"key:{key}", self._sizes[key], self._ttls[key])

    def _drawn(self, number: int, length: int) -> int:
        rank = bisect.bisect(self._heights, self._random.random() * self._heights[-1])
        moved = number * (self._mix.shifts + 1) // length * (self._keys // 7)
        return self._order[(rank + moved) % self._keys]
