"""Rows to learn from: features of candles that have closed, and what came after them; split by time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from shivx.errors import ShivxError
from shivx.indicators.prices import Floats, Prices, Whole
from shivx.ml.features import LENGTH
from shivx.models import Candle, Pair

AHEAD = 4
"""Candles from the newest known one to that whose close counts."""
DAY = 24
"""Candles before, by which moves are measured."""
FLAT = 0.4
"""A move within so much of what moved over as long a time on the last day is none."""
CALM, WILD = 0.75, 1.25
"""Times what was usual on the last day."""
HELD_OUT = 0.25
"""The last part of the time, by which a model is judged."""

Make = Callable[[Sequence[Candle]], Floats]


class LookAhead(ShivxError):
    """Features of a candle change with later ones: what is learnt from them cannot be known in time."""


class Rows(NamedTuple):
    """Rows of one or several pairs.

    Args:
        times: when the candle opens that each is known at the close of, Unix ms.
        features: a row each.
        classes: the number of the class that came.
        moves: in percent, what came.
    """

    times: Whole
    features: Floats
    classes: Whole
    moves: Floats

    def where(self, chosen: np.ndarray) -> Rows:
        """Return the *chosen* rows."""
        return Rows(*(each[chosen] for each in self))


def rows_of(name: str, candles: Mapping[Pair, Sequence[Candle]], make: Make) -> Rows:
    """Return all rows of *candles*, of which each pair's are oldest first, for the model *name*.

    Args:
        make: the features of candles; `shivx.ml.features.matrix`.
    Raises:
        LookAhead: *make* looks ahead.
    """
    parts = [_of_pair(name, each, make) for each in candles.values()]
    whole = Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return whole.where(np.argsort(whole.times, kind="stable"))


def split(rows: Rows) -> tuple[Rows, Rows]:
    """Return the part to learn from and the later one to judge by; nothing of the first reaches into that."""
    first, last = int(rows.times[0]), int(rows.times[-1])
    cut = last - int((last - first) * HELD_OUT)
    return rows.where(rows.times + AHEAD * LENGTH < cut), rows.where(rows.times >= cut)


def require_no_look_ahead(make: Make, candles: Sequence[Candle]) -> None:
    """Raise LookAhead if features of a candle are others once there are later ones."""
    whole = make(candles)
    for share in (0.5, 0.75, 0.9):
        known = int(len(candles) * share)
        if known and not np.allclose(make(candles[:known])[-1], whole[known - 1], 1e-6, 1e-9, equal_nan=True):
            raise LookAhead(f"the features of candle {known} of {len(candles)} depend on later ones")


def _of_pair(name: str, candles: Sequence[Candle], make: Make) -> Rows:
    require_no_look_ahead(make, candles)
    prices = Prices.of(candles)
    logs = np.log(prices["close"])
    squares = np.concatenate(([0.0], np.cumsum(np.diff(logs, prepend=logs[0]) ** 2)))
    known = np.arange(DAY, len(logs) - AHEAD)
    usual = np.sqrt((squares[known + 1] - squares[known + 1 - DAY]) * AHEAD / DAY)
    moves = logs[known + AHEAD] - logs[known]
    realised = np.sqrt(squares[known + 1 + AHEAD] - squares[known + 1])
    measured, low, high = (moves, -FLAT, FLAT) if name == "direction" else (realised, CALM, WILD)
    classes = (measured > low * usual).astype(np.int64) + (measured > high * usual)
    features = make(candles)[known]
    whole = prices.times[known + AHEAD] - prices.times[known] == AHEAD * LENGTH
    sound = whole & (usual > 0) & np.isfinite(features).any(axis=1)
    outcome = moves if name == "direction" else realised
    return Rows(prices.times[known], features, classes, 100 * outcome).where(sound)
