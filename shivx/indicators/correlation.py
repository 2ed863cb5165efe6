"""How the log returns of several pairs go together: Pearson's coefficient, aligned by time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shivx.indicators.prices import Floats, Prices
from shivx.indicators.values import Point

LEAST = 3
"""Common returns; two always lie on a line."""
_ROUNDING = 1e-20
"""A variance below this part of the mean square is that of a constant."""


def log_returns(prices: Prices, since: int, until: int, length: int) -> Floats:
    """Return the log return from each candle to the next, by time; NaN where one of the two is missing.

    Args:
        since, until: open times of the first candle and behind the last, Unix ms, multiples of *length*.
        length: of a candle, ms.
    """
    closes = np.full((until - since) // length, np.nan)
    usable = (prices.times >= since) & (prices.times < until) & prices.sound[3]
    closes[(prices.times[usable] - since) // length] = np.log(prices["close"][usable])
    return np.diff(closes)


def correlate(returns: Sequence[Floats]) -> tuple[list[list[Point]], list[list[int]]]:
    """Return the matrix of correlations, and of how many common returns each is made.

    A coefficient is made of the moments at which both pairs have a return, and is None if these are fewer
    than `LEAST` or one of the two does not vary.
    """
    stacked = np.stack(returns)
    there = (~np.isnan(stacked)).astype(np.float64)
    count = there @ there.T
    sums = there.sum(axis=1, keepdims=True)
    centre = np.where(np.isnan(stacked), 0.0, stacked).sum(axis=1, keepdims=True) / np.maximum(sums, 1)
    values = np.where(np.isnan(stacked), 0.0, stacked - centre)
    least = np.maximum(count, 1)
    first, second = values @ there.T, there @ values.T
    square = (values**2) @ there.T
    variance = square - first**2 / least
    together = values @ values.T - first * second / least
    size = np.sqrt(np.maximum(variance, 0)) * np.sqrt(np.maximum(variance.T, 0))
    moves = (variance > _ROUNDING * (square + least * centre**2)) & (count >= LEAST)
    usable = moves & moves.T & (size > 0)
    matrix = np.clip(together / np.where(usable, size, 1.0), -1.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    rows = [
        [value if fine else None for value, fine in zip(row, mask, strict=True)]
        for row, mask in zip(matrix.tolist(), usable.tolist(), strict=True)
    ]
    return rows, count.astype(int).tolist()
