"""Made-up candles for tests of indicators."""

from __future__ import annotations

import numpy as np

from shivx.indicators.prices import Prices


def walk(count: int, *, seed: int = 1, step: float = 0.01) -> Prices:
    """Return *count* candles of a price that walks at random, *step* of itself with each."""
    random = np.random.default_rng(seed)
    close = 60_000 * np.exp(np.cumsum(random.normal(0, step, count)))
    begin = np.concatenate(([60_000.0], close[:-1]))[:count]
    high = np.maximum(begin, close) * (1 + np.abs(random.normal(0, step / 2, count)))
    low = np.minimum(begin, close) * (1 - np.abs(random.normal(0, step / 2, count)))
    volume = random.gamma(2, 10, count)
    return Prices(np.arange(count), np.stack([begin, high, low, close, volume]))


def flat(count: int) -> Prices:
    """Return *count* candles of a price that never moves; there is some volume."""
    rows = np.full((5, count), 100.0)
    rows[4] = np.random.default_rng(1).gamma(2, 10, count)
    return Prices(np.arange(count), rows)
