"""The tape: every trade there ever was, and its sums by minute and hour.

Bars are int64 arrays with one row for each of OPEN, HIGH, LOW, CLOSE (ticks), VOLUME (units) and TRADES,
and a column for each minute or hour. Where nothing was traded TRADES is 0 and the prices mean nothing, but
HIGH and LOW never win against real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shivx.providers.simulated.chance import Floats, hash_bits, stream_key, uniform
from shivx.providers.simulated.listing import LISTINGS, Listing
from shivx.providers.simulated.motion import BLOCK, Motion
from shivx.providers.simulated.numerals import exponential
from shivx.providers.simulated.patterns import MEAN_WEIGHT, ROWS, Integers, make_patterns

OPEN, HIGH, LOW, CLOSE, VOLUME, TRADES = range(6)
MINUTES_PER_HOUR = 60
MIN_TICKS = 2  # so that there is room for a bid below the lowest price
_ROW_MASK = np.uint64(ROWS - 1)
NEVER_LOW = np.iinfo(np.int64).max

_MEMORY_BLOCKS = 512  # 25 kB each: 100 pairs over more than a day
_MINUTES_AT_A_TIME = 32 * MINUTES_PER_HOUR  # their prices fit the second-level cache of a CPU
_MEMORY_SKETCHES = 64  # 20 kB each, for those who ask for the same one in a row
_MEMORY_CHUNKS = 192  # 25 kB each: 4 pairs over 1000 days
_MEMORY_TURNOVERS = 1024  # 4 kB each


@dataclass(frozen=True)
class Minutes:
    """What a pair is like in each minute of some blocks; arrays of shape (minutes,).

    The price goes from `start` by `move`, in ticks, with a detour of `deviation` ticks; `pattern` is the
    column of the library that holds its trades, `unit` scales their amounts.
    """

    start: Floats
    move: Floats
    deviation: Floats
    pattern: Integers
    unit: Integers

    def between(self, first: int, end: int) -> Minutes:
        """Return those at [*first*, *end*)."""
        part = slice(first, end)
        return Minutes(
            self.start[part], self.move[part], self.deviation[part], self.pattern[part], self.unit[part]
        )


class Tape:
    """The trades of all pairs for one seed. Thread-safe: what it remembers never changes.

    Nothing here knows the present: minutes to come are computed like any other, and it is for the caller to
    keep them to himself.
    """

    def __init__(self, seed: int) -> None:
        self._motion = Motion(seed)
        self._patterns = make_patterns(seed)
        self._key = lru_cache(len(LISTINGS))(lambda pair: stream_key(seed, "minute", pair))
        self._block_sketch = lru_cache(_MEMORY_SKETCHES)(self._make_sketch)
        self._block = lru_cache(_MEMORY_BLOCKS)(self._make_block)
        self._chunk = lru_cache(_MEMORY_CHUNKS)(self._make_chunk)
        self._turnover = lru_cache(_MEMORY_TURNOVERS)(self._make_turnover)

    def minutes(self, pair: str, first: int, end: int) -> Integers:
        """Return the bars of the minutes [*first*, *end*), counted from the Unix epoch."""
        return self._join(self._block, pair, first, end)

    def hours(self, pair: str, first: int, end: int) -> Integers:
        """Return the bars of the hours [*first*, *end*), counted from the Unix epoch."""
        return self._join(self._chunk, pair, first, end)

    def turnover(self, pair: str, first: int, end: int) -> Integers:
        """Return the sum of price times amount, ticks times units, of each minute in [*first*, *end*)."""
        return self._join(self._turnover, pair, first, end)

    def sketch(self, pair: str, first: int, count: int) -> Minutes:
        """Return what *pair* is like in the minutes of *count* blocks from block *first*."""
        return self._block_sketch(pair, first, 1) if count == 1 else self._make_sketch(pair, first, count)

    def sketch_range(self, pair: str, first: int, end: int) -> Minutes:
        """Return what *pair* is like in the minutes [*first*, *end*), counted from the Unix epoch."""
        block = first // BLOCK
        count = (end - 1) // BLOCK + 1 - block
        return self.sketch(pair, block, count).between(first - block * BLOCK, end - block * BLOCK)

    def prices(self, minutes: Minutes) -> Floats:
        """Return the price in each slot of each minute, shape (SLOTS, minutes), in ticks, not yet rounded."""
        prices = self._patterns.elapsed.take(minutes.pattern, axis=1)
        prices *= minutes.move
        prices += minutes.start
        detours = self._patterns.detour.take(minutes.pattern, axis=1)
        detours *= minutes.deviation
        prices += detours
        return prices

    def amounts(self, minutes: Minutes) -> Integers:
        """Return the amount traded in each slot of each minute, in units; shape as `prices`, 0 if none."""
        amounts = self._patterns.weight.take(minutes.pattern, axis=1)
        amounts *= minutes.unit
        amounts += self._patterns.extra.take(minutes.pattern, axis=1)
        return amounts

    def _make_sketch(self, pair: str, first: int, count: int) -> Minutes:
        listing = LISTINGS[pair]
        level = self._prices(listing, first, count)
        elapsed = np.sqrt(self._motion.clock(first, count).elapsed).ravel()
        start = level[:, :-1].ravel()
        numbers = np.arange(first * BLOCK, (first + count) * BLOCK, dtype=np.uint64)
        bits = hash_bits(self._key(pair), numbers)
        unit = np.floor((elapsed + 0.25) * (uniform(bits) + 0.5) * (listing.usual_amount / MEAN_WEIGHT))
        return Minutes(
            start=start,
            move=level[:, 1:].ravel() - start,
            deviation=start * elapsed * listing.volatility,
            pattern=(bits & _ROW_MASK).astype(np.int64) + listing.liquidity * ROWS,
            unit=unit.astype(np.int64) + 1,
        )

    def _prices(self, listing: Listing, first: int, count: int) -> Floats:
        logarithm = np.zeros((count, BLOCK + 1))
        for stream, loading in listing.loadings:
            logarithm += self._motion.path(stream, first, count) * loading
        return exponential(logarithm) * listing.reference

    def _make_block(self, pair: str, block: int) -> Integers:
        return self._bars(self.sketch(pair, block, 1))

    def _make_chunk(self, pair: str, chunk: int) -> Integers:
        """Return the bars of BLOCK hours, which are as many blocks of minutes as an hour has minutes."""
        minutes = self.sketch(pair, chunk * MINUTES_PER_HOUR, MINUTES_PER_HOUR)
        parts = range(0, len(minutes.start), _MINUTES_AT_A_TIME)
        bars = [self._bars(minutes.between(part, part + _MINUTES_AT_A_TIME)) for part in parts]
        return np.concatenate([fold(part, MINUTES_PER_HOUR) for part in bars], axis=1)

    def _bars(self, minutes: Minutes) -> Integers:
        prices = self.prices(minutes)
        patterns = self._patterns
        bars = np.empty((6, prices.shape[1]), dtype=np.int64)
        bars[OPEN] = to_ticks(prices[0])
        bars[HIGH] = to_ticks(prices.max(axis=0))
        bars[LOW] = to_ticks(prices.min(axis=0))
        bars[CLOSE] = to_ticks(prices[-1])
        bars[VOLUME] = minutes.unit * patterns.total_weight[minutes.pattern]
        bars[VOLUME] += patterns.total_extra[minutes.pattern]
        bars[TRADES] = patterns.trades[minutes.pattern]
        idle = bars[TRADES] == 0
        bars[HIGH][idle] = 0
        bars[LOW][idle] = NEVER_LOW
        return bars

    def _make_turnover(self, pair: str, block: int) -> Integers:
        minutes = self.sketch(pair, block, 1)
        turnover: Integers = (to_ticks(self.prices(minutes)) * self.amounts(minutes)).sum(axis=0)
        return turnover[np.newaxis]

    @staticmethod
    def _join(read: Callable[[str, int], Integers], pair: str, first: int, end: int) -> Integers:
        """Return columns [*first*, *end*) of arrays that *read* gives by the BLOCK."""
        block, last = first // BLOCK, (end - 1) // BLOCK
        if block >= last:
            return read(pair, block)[:, first - block * BLOCK : end - block * BLOCK]
        parts = [read(pair, number) for number in range(block, last + 1)]
        parts[0] = parts[0][:, first - block * BLOCK :]
        parts[-1] = parts[-1][:, : end - last * BLOCK]
        return np.concatenate(parts, axis=1)


def to_ticks(prices: Floats) -> Integers:
    """Return *prices*, in ticks, rounded half up.

    Rounding keeps order, so the highest price rounded is the highest of the rounded prices.
    """
    return np.maximum(np.floor(prices + 0.5), MIN_TICKS).astype(np.int64)


def fold(bars: Integers, size: int) -> Integers:
    """Return *bars* aggregated by *size*, which divides their number."""
    groups = bars.reshape(6, -1, size)
    traded = groups[TRADES] > 0
    rows = np.arange(groups.shape[1])
    folded = np.empty(groups.shape[:2], dtype=np.int64)
    folded[OPEN] = groups[OPEN, rows, traded.argmax(axis=1)]
    folded[HIGH] = groups[HIGH].max(axis=1)
    folded[LOW] = groups[LOW].min(axis=1)
    folded[CLOSE] = groups[CLOSE, rows, size - 1 - traded[:, ::-1].argmax(axis=1)]
    folded[VOLUME] = groups[VOLUME].sum(axis=1)
    folded[TRADES] = groups[TRADES].sum(axis=1)
    return folded


def idle_bars(count: int) -> Integers:
    """Return the bars of *count* minutes or hours in which nothing was traded."""
    column = np.array([0, 0, NEVER_LOW, 0, 0, 0], dtype=np.int64)
    return np.repeat(column[:, np.newaxis], count, axis=1)
