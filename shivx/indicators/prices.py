"""Candles as arrays, and what is still in them: runs without a movement, where ratios have no value."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shivx.indicators.library import PRICES
from shivx.models import Candle

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Truths = NDArray[np.bool_]

_LEAST: Floats = np.array([[np.nextafter(0.0, 1.0)]] * 4 + [[0.0]])
"""A price is above zero, a volume may be zero."""


class Runs(NamedTuple):
    """At each candle, how many in a row have something in common, up to it; and the longest of them."""

    lengths: Whole
    longest: int


class Prices:
    """Candles, oldest first.

    Args:
        times: when each opens, Unix ms.
        rows: open, high, low, close, volume: five rows of doubles, one column a candle, in C order. What
            is no price (NaN, infinite, not above zero) leaves a hole that no value reaches over.
    """

    def __init__(self, times: Whole, rows: Floats) -> None:
        self.times = times
        self.rows = rows

    @classmethod
    def of(cls, candles: Sequence[Candle]) -> Prices:
        """Return *candles* as doubles."""
        times = np.fromiter((candle[0] for candle in candles), np.int64, len(candles))
        numbers = (float(digits) for row in range(1, 6) for digits in [each[row] for each in candles])
        return cls(times, np.fromiter(numbers, np.float64, 5 * len(candles)).reshape(5, len(candles)))

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, name: str) -> Floats:
        return self.named[name]

    @cached_property
    def named(self) -> dict[str, Floats]:
        """The rows by name."""
        return dict(zip(PRICES, self.rows, strict=True))

    def since(self, index: int) -> Prices:
        """Return these without the first *index* candles."""
        return Prices(self.times[index:], self.rows[:, index:])

    def between(self, first: int, last: int) -> Prices:
        """Return the candles from *first* on and before *last*."""
        return Prices(self.times[first:last], self.rows[:, first:last])

    @cached_property
    def sound(self) -> Truths:
        """Whether each number is a price (or volume): five rows."""
        return (self.rows >= _LEAST) & (self.rows < np.inf)

    @cached_property
    def all_sound(self) -> bool:
        """Whether every number is a price (or volume)."""
        return bool(self.sound.all())

    @cached_property
    def unmoved_closes(self) -> Runs | None:
        """How often in a row the close has not changed, at each candle; None if it always has."""
        return self._unchanged(self["close"])

    @cached_property
    def unmoved_highs(self) -> Runs | None:
        """Likewise for the high."""
        return self._unchanged(self["high"])

    @cached_property
    def unmoved_lows(self) -> Runs | None:
        """Likewise for the low."""
        return self._unchanged(self["low"])

    @cached_property
    def unmoved_typicals(self) -> Runs | None:
        """Likewise for the mean of high, low and close."""
        return self._unchanged(self._typical)

    @cached_property
    def points(self) -> Runs | None:
        """How many candles in a row have high and low equal, each for itself; None if none has."""
        return runs_of(self["high"] == self["low"])

    @cached_property
    def flat(self) -> Runs | None:
        """How many candles in a row are at one price, highs and lows; None if none is."""
        if self.points is None:
            return None
        return runs_of(self["high"] == self["low"], self._same(self["high"]))

    @cached_property
    def dojis(self) -> Runs | None:
        """How many candles in a row close where they opened; None if none does."""
        return runs_of(self["open"] == self["close"])

    @cached_property
    def directionless(self) -> Runs | None:
        """How often in a row neither the high rose nor the low fell; None if one always has."""
        high, low = self["high"], self["low"]
        up, down = np.diff(high, prepend=high[:1]), -np.diff(low, prepend=low[:1])
        return runs_of(((up <= 0) & (down <= 0)) | (up == down))

    @cached_property
    def without_volume(self) -> Runs | None:
        """How many candles in a row have no volume; None if all have."""
        return runs_of(self["volume"] == 0)

    @cached_property
    def without_flow(self) -> Runs | None:
        """How many candles in a row have no volume or the same typical price as before; None if none."""
        return runs_of((self["volume"] == 0) | self._same(self._typical))

    @property
    def _typical(self) -> Floats:
        return (self["high"] + self["low"] + self["close"]) / 3

    @staticmethod
    def _same(values: Floats) -> Truths:
        """Tell of each value whether it is the one before; of the first, that it is not."""
        same = np.zeros(len(values), np.bool_)
        np.equal(values[1:], values[:-1], out=same[1:])
        return same

    def _unchanged(self, values: Floats) -> Runs | None:
        return runs_of(self._same(values))


def runs_of(holds: Truths, goes_on: Truths | None = None) -> Runs | None:
    """Return for each place how many in a row *holds* is true, up to there; None if it nowhere is.

    Args:
        goes_on: where a run may go on; it begins anew elsewhere.
    """
    if not holds.any():
        return None
    places = np.arange(1, len(holds) + 1)
    ends = np.where(holds, 0, places)
    if goes_on is not None:
        ends = np.maximum(ends, np.where(goes_on, 0, places - 1))
    lengths = np.asarray(places - np.maximum.accumulate(ends))
    return Runs(lengths, int(lengths.max()))
