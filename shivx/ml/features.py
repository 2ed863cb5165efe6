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
SPECS: Mapping[str, tuple[str, str, Callable[[Floats, Floats], Floats]]] = {
    "rsi": ("rsi:14", "real", lambda value, close: value / 100),
    "macd": ("macd:12:26:9", "macdhist", lambda value, close: value / close),
    "upper": ("bbands:20:2", "upperband", lambda value, close: value / close - 1),
    "lower": ("bbands:20:2", "lowerband", lambda value, close: value / close - 1),
    "range": ("atr:14", "real", lambda value, close: value / close),
    "trend": ("adx:14", "real", lambda value, close: value / 100),
}
"""Indicators by the feature they give: which output, and how it is made independent of the price."""
NAMES = (*(f"return_{hours}h" for hours in RETURNS), *SPECS)
FEATURES_VERSION = hashlib.sha256(
    repr((NAMES, [(spec, output) for spec, output, _ in SPECS.values()], HISTORY, TIMEFRAME)).encode()
).hexdigest()[:16]
"""Differs if anything of the definition does; a model of another one is refused."""


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
    for text, output, scaled in SPECS.values():
        found = compute(parse_spec(text), prices)
        columns.append(scaled(found[output] if output in found else next(iter(found.values())), close))
    return np.column_stack(columns)


def vector(candles: Sequence[Candle]) -> list[float]:
    """Return the features of the newest of *candles*, which are closed, oldest first, at least one."""
    row: list[float] = matrix(candles)[-1].tolist()
    return row
