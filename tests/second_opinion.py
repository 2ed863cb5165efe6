"""The indicators that talipp has too, computed by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from talipp import indicators as talipp
from talipp.ohlcv import OHLCV

from shivx.indicators.prices import Floats, Prices


def _one(values: Any) -> dict[str, list[Any]]:
    return {"value": list(values)}


def _several(values: Any, **names: str) -> dict[str, list[Any]]:
    return {
        ours: [None if each is None else getattr(each, theirs) for each in values]
        for ours, theirs in names.items()
    }


def _bands(values: Any) -> dict[str, list[Any]]:
    return _several(values, upperband="ub", middleband="cb", lowerband="lb")


def _slow_stochastic(candles: list[OHLCV]) -> dict[str, list[Any]]:
    """Return talipp's fast one, whose average is the slow one, averaged once more."""
    slow = [None if each is None else each.d for each in talipp.Stoch(5, 3, candles)]
    first = sum(each is None for each in slow)
    return {"slowk": slow, "slowd": [None] * first + list(talipp.SMA(3, slow[first:]))}


OPINIONS: Mapping[str, Callable[[list[float], list[OHLCV]], dict[str, list[Any]]]] = {
    "adx": lambda closes, candles: _several(talipp.ADX(14, 14, candles), value="adx"),
    "plus_di": lambda closes, candles: _several(talipp.ADX(14, 14, candles), value="plus_di"),
    "minus_di": lambda closes, candles: _several(talipp.ADX(14, 14, candles), value="minus_di"),
    "ao": lambda closes, candles: _one(talipp.AO(5, 34, candles)),
    "aroon": lambda closes, candles: _several(talipp.Aroon(14, candles), aroonup="up", aroondown="down"),
    "atr": lambda closes, candles: _one(talipp.ATR(14, candles)),
    "bbands": lambda closes, candles: _bands(talipp.BB(20, 2, closes)),
    "bop": lambda closes, candles: _one(talipp.BOP(candles)),
    "cci": lambda closes, candles: _one(talipp.CCI(14, candles)),
    "coppock": lambda closes, candles: _one(talipp.CoppockCurve(11, 14, 10, closes)),
    "dema": lambda closes, candles: _one(talipp.DEMA(30, closes)),
    "donchian": lambda closes, candles: _bands(talipp.DonchianChannels(20, candles)),
    "dpo": lambda closes, candles: _one(talipp.DPO(20, closes)),
    "efi": lambda closes, candles: _one(talipp.ForceIndex(13, candles)),
    "ema": lambda closes, candles: _one(talipp.EMA(30, closes)),
    "hma": lambda closes, candles: _one(talipp.HMA(20, closes)),
    "kama": lambda closes, candles: _one(talipp.KAMA(30, 2, 30, closes)),
    "macd": lambda closes, candles: _several(
        talipp.MACD(12, 26, 9, closes), macd="macd", macdsignal="signal", macdhist="histogram"
    ),
    "massi": lambda closes, candles: _one(talipp.MassIndex(9, 9, 25, candles)),
    "obv": lambda closes, candles: _one(talipp.OBV(candles)),
    "ad": lambda closes, candles: _one(talipp.AccuDist(candles)),
    "adosc": lambda closes, candles: _one(talipp.ChaikinOsc(3, 10, candles)),
    "rma": lambda closes, candles: _one(talipp.SMMA(30, closes)),
    "roc": lambda closes, candles: _one(talipp.ROC(10, closes)),
    "rsi": lambda closes, candles: _one(talipp.RSI(14, closes)),
    "sma": lambda closes, candles: _one(talipp.SMA(30, closes)),
    "stddev": lambda closes, candles: _one(talipp.StdDev(5, closes)),
    "stoch": lambda closes, candles: _slow_stochastic(candles),
    "stochf": lambda closes, candles: _several(talipp.Stoch(5, 3, candles), fastk="k", fastd="d"),
    "stochrsi": lambda closes, candles: _several(talipp.StochRSI(14, 5, 1, 3, closes), fastk="k", fastd="d"),
    "supertrend": lambda closes, candles: _several(talipp.SuperTrend(10, 3, candles), supertrend="value"),
    "t3": lambda closes, candles: _one(talipp.T3(5, 0.7, closes)),
    "tema": lambda closes, candles: _one(talipp.TEMA(30, closes)),
    "trix": lambda closes, candles: _one(each and each / 100 for each in talipp.TRIX(30, closes)),
    "tsi": lambda closes, candles: _one(talipp.TSI(13, 25, closes)),
    "ultosc": lambda closes, candles: _one(talipp.UO(7, 14, 28, candles)),
    "vortex": lambda closes, candles: _several(
        talipp.VTX(14, candles), plusvi="plus_vtx", minusvi="minus_vtx"
    ),
    "vwap": lambda closes, candles: _one(talipp.VWAP(candles)),
    "vwma": lambda closes, candles: _one(talipp.VWMA(30, candles)),
    "willr": lambda closes, candles: _one(talipp.Williams(14, candles)),
    "wma": lambda closes, candles: _one(talipp.WMA(30, closes)),
    "zlema": lambda closes, candles: _one(talipp.ZLEMA(30, closes)),
    "natr": lambda closes, candles: _one(talipp.NATR(14, candles)),
}
"""By our name, with TA-Lib's defaults."""


def opinion(name: str, prices: Prices) -> dict[str, Floats]:
    """Return what talipp makes of *prices*; NaN where it has no value."""
    rows = prices.rows.T.tolist()
    candles = [OHLCV(*row) for row in rows]
    found = OPINIONS[name](prices["close"].tolist(), candles)
    return {
        output: np.array([math.nan if value is None else float(value) for value in values])
        for output, values in found.items()
    }
