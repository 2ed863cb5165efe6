"""Brownian motion in a trading time that runs unevenly, both by halving intervals down to the minute.

Trading time is a multiplicative cascade: an interval hands a random share of its own to its left half, the
rest to its right. A path is displaced at each midpoint by the Brownian bridge's law in trading time. All
draws are hashes of the interval, so the path at one minute costs the intervals around it, not the past.

Source: B. Mandelbrot, A. Fisher, L. Calvet, A multifractal model of asset returns, 1997 (the compound of the
two); P. Lévy, 1948 (the bridge by halving).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shivx.providers.simulated.chance import Bits, Floats, hash_bits, normal, stream_key, uniform

ERA_LEVEL = 20  # an era is 2**20 minutes, near two years; all paths are 0 where eras meet
BLOCK_LEVEL = 9  # a block is 2**9 minutes, the unit of memory
BLOCK = 1 << BLOCK_LEVEL
BLOCKS_PER_ERA = 1 << (ERA_LEVEL - BLOCK_LEVEL)

_FINE_LEVEL = 13  # halves of intervals up to 2**13 minutes (6 days) differ more than those of longer ones
_FINE_SWING = 0.64
_COARSE_SWING = 0.40

_MEMORY_ERAS = 128  # paths of 16 kB
_MEMORY_BLOCKS = 768  # paths of 4 kB
_MEMORY_CLOCKS = 32  # of 16 kB
_MEMORY_WIDE_CLOCKS = 2  # of 1 MB


@dataclass(frozen=True)
class Halving:
    """One level of the tree, for all intervals of it that are looked at.

    `share` is the part of the trading time that goes to the left half; `spread` is the standard deviation of
    the midpoint. Both have the shape (rows, intervals of a row).
    """

    level: int
    nodes: Bits
    share: Floats
    spread: Floats


@dataclass(frozen=True)
class Clock:
    """Trading time of some rows of minutes: `halvings`, coarse to fine, and `elapsed` of shape (rows, n).

    An interval of trading time that is 1 has the variance of an average minute.
    """

    halvings: tuple[Halving, ...]
    elapsed: Floats


class Motion:
    """Trading time and the paths of one seed. Thread-safe: what it remembers never changes.

    Blocks are numbered from the Unix epoch: block b begins at minute ``b * BLOCK``.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._keys = lru_cache(_MEMORY_ERAS)(self._draw_keys)
        self._era_clock = lru_cache(_MEMORY_CLOCKS)(self._make_era_clock)
        self._era_path = lru_cache(_MEMORY_ERAS)(self._make_era_path)
        self._block_clock = lru_cache(_MEMORY_CLOCKS)(self._make_clock)
        self._wide_clock = lru_cache(_MEMORY_WIDE_CLOCKS)(self._make_clock)
        self._block_path = lru_cache(_MEMORY_BLOCKS)(self._make_path)

    def clock(self, first: int, count: int) -> Clock:
        """Return the trading time of *count* blocks from *first*: rows are blocks, columns minutes."""
        return self._block_clock(first, 1) if count == 1 else self._wide_clock(first, count)

    def path(self, stream: str, first: int, count: int) -> Floats:
        """Return the path of *stream* over *count* blocks from *first*, shape (count, BLOCK + 1).

        Column m is the path where minute m of the block begins; the last column of a row is the first of the
        next. The variance of a step is the trading time that elapses, 1 a minute on average.
        """
        return self._block_path(stream, first, 1) if count == 1 else self._make_path(stream, first, count)

    def _draw_keys(self, stream: str) -> tuple[np.uint64, ...]:
        return tuple(stream_key(self._seed, stream, level) for level in range(ERA_LEVEL + 1))

    def _make_era_clock(self, era: int) -> Clock:
        return self._run(era, np.full((1, 1), float(1 << ERA_LEVEL)), ERA_LEVEL, BLOCK_LEVEL)

    def _make_era_path(self, stream: str, era: int) -> Floats:
        path: Floats = self._walk(stream, np.zeros((1, 2)), self._era_clock(era))[0]
        return path

    def _make_clock(self, first: int, count: int) -> Clock:
        eras = range(first // BLOCKS_PER_ERA, (first + count - 1) // BLOCKS_PER_ERA + 1)
        blocks = np.concatenate([self._era_clock(era).elapsed[0] for era in eras])
        offset = first % BLOCKS_PER_ERA
        return self._run(first, blocks[offset : offset + count, np.newaxis], BLOCK_LEVEL, 0)

    def _make_path(self, stream: str, first: int, count: int) -> Floats:
        eras = range(first // BLOCKS_PER_ERA, (first + count - 1) // BLOCKS_PER_ERA + 1)
        ends = np.concatenate([self._era_path(stream, era)[:-1] for era in eras] + [np.zeros(1)])
        offset = first % BLOCKS_PER_ERA
        pairs = np.stack([ends[offset : offset + count], ends[offset + 1 : offset + count + 1]], axis=1)
        return self._walk(stream, pairs, self.clock(first, count))

    def _run(self, first: int, elapsed: Floats, top: int, bottom: int) -> Clock:
        """Return the trading time of intervals of length 2**bottom, given *elapsed* of those of 2**top."""
        rows = len(elapsed)
        keys = self._keys("trading time")
        halvings = []
        for level in range(top, bottom, -1):
            width = 1 << (top - level)
            nodes = np.arange(first * width, (first + rows) * width, dtype=np.uint64).reshape(rows, width)
            swing = _FINE_SWING if level <= _FINE_LEVEL else _COARSE_SWING
            share = uniform(hash_bits(keys[level], nodes))
            share -= 0.5
            share *= swing
            share += 0.5
            left = elapsed * share
            halvings.append(Halving(level, nodes, share, np.sqrt(left * (1.0 - share))))
            halves = np.empty((rows, 2 * width))
            halves[:, 0::2] = left
            halves[:, 1::2] = elapsed - left
            elapsed = halves
        return Clock(tuple(halvings), elapsed)

    def _walk(self, stream: str, ends: Floats, clock: Clock) -> Floats:
        """Return the path between *ends*, of shape (rows, 2), displaced at every midpoint of *clock*."""
        keys = self._keys(stream)
        path = ends
        for halving in clock.halvings:
            middle = normal(hash_bits(keys[halving.level], halving.nodes))
            middle *= halving.spread
            left = path[:, :-1]
            middle += left + (path[:, 1:] - left) * halving.share
            finer = np.empty((len(path), 2 * path.shape[1] - 1))
            finer[:, 0::2] = path
            finer[:, 1::2] = middle
            path = finer
        return path
