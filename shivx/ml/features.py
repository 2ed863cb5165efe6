"""What models are told of a pair: one definition, for training and for serving alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from shivx.indicators.computing import compute
from shivx.indicators.prices import Floats, Prices
from shivx.indicators.specs import parse_spec
from shivx.models import TIMEFRAMES, Candle

TIMEFRAME = "1h"
LENGTH = TIMEFRAMES[TIMEFRAME]
"""Of a candle, ms."""
HISTORY = 400
"""Closed candles that a vector is made of: enough for the warm-up of each indicator here."""
RETURNS = (1, 3, 6, 12, 24)
SCALES: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "hundredth": lambda value, close: value / 100,
    "of the price": lambda value, close: value / close,
    "off the price": lambda value, close: value / close - 1,
}
"""How values are made independent of the price. Another way has another name: it is part of the version."""
SPECS: Mapping[str, tuple[str, str, str]] = {
    "rsi": ("rsi:14", "real", "hundredth"),
    "macd": ("macd:12:26:9", "macdhist", "of the price"),
    "upper": ("bbands:20:2", "upperband", "off the price"),
    "lower": ("bbands:20:2", "lowerband", "off the price"),
    "range": ("atr:14", "real", "of the price"),
    "trend": ("adx:14", "real", "hundredth"),
}
"""Indicators by the feature they give: which output, and its scale."""
NAMES = (*(f"return_{hours}h" for hours in RETURNS), *SPECS)


def version_of(specs: Mapping[str, tuple[str, str, str]]) -> str:
    """Return the version of features of which *specs* are the indicators; it differs if anything does."""
    definition = repr((RETURNS, [*specs.items()], HISTORY, TIMEFRAME))
    return hashlib.sha256(definition.encode()).hexdigest()[:16]


FEATURES_VERSION = version_of(SPECS)
"""A model that was trained on another one is refused."""


def matrix(candles: Sequence[Candle]) -> Floats:
    """Return a row of features for each of *candles*, oldest first; NaN where one has no value yet.

    A row is made of its candle and earlier ones alone.
    """
    prices = Prices.of(candles)
    close = prices["close"]
    logs = np.log(close)
    columns = []
    for hours in RETURNS:
        column = np.full(len(close), np.nan)
        column[hours:] = logs[hours:] - logs[:-hours]
        columns.append(column)
    for text, output, scale in SPECS.values():
        found = compute(parse_spec(text), prices)
        value = found[output] if output in found else next(iter(found.values()))
        columns.append(SCALES[scale](value, close))
    return np.column_stack(columns)


def vector(candles: Sequence[Candle]) -> list[float]:
    """Return the features of the newest of *candles*, which are closed, oldest first, at least one."""
    row: list[float] = matrix(candles)[-1].tolist()
    return row
