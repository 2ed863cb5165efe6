"""What the newest value of an indicator says in a word, and by which rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from shivx.indicators.prices import Floats, Prices

Outputs = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading of an indicator.

    Args:
        rule: for humans, in the catalogue.
        words: all that it may be.
        read: returns one of them from outputs whose newest values there are.
    """

    rule: str
    words: tuple[str, ...]
    read: Callable[[Outputs, Prices], str]


def read(name: str, outputs: Outputs, prices: Prices) -> str | None:
    """Return the reading of the indicator *name*; None if it has none, or no value now."""
    reading = READINGS.get(name)
    if reading is None or not len(prices):
        return None
    if any(np.isnan(values[-1]) for values in outputs.values()):
        return None
    return reading.read(outputs, prices)


def _rsi(outputs: Outputs, prices: Prices) -> str:
    return _between(outputs["value"][-1], 30, 70)


def _stochastic(outputs: Outputs, prices: Prices) -> str:
    return _between(outputs["slowk"][-1], 20, 80)


def _between(value: float, low: float, high: float) -> str:
    if value >= high:
        return "overbought"
    return "oversold" if value <= low else "neutral"


def _macd(outputs: Outputs, prices: Prices) -> str:
    before, now = (np.sign(each) for each in outputs["macdhist"][-2:])
    if now > 0:
        return "bullish_cross" if before <= 0 else "bullish"
    if now < 0:
        return "bearish_cross" if before >= 0 else "bearish"
    return "neutral"


def _bands(outputs: Outputs, prices: Prices) -> str:
    close = prices["close"][-1]
    if close > outputs["upperband"][-1]:
        return "above_upper_band"
    return "below_lower_band" if close < outputs["lowerband"][-1] else "within_bands"


def _adx(outputs: Outputs, prices: Prices) -> str:
    value = outputs["value"][-1]
    if value >= 25:
        return "trending"
    return "weak_trend" if value >= 20 else "ranging"


READINGS: Mapping[str, Reading] = {
    "adx": Reading(
        "trending from 25 on, weak_trend from 20 on, else ranging",
        ("trending", "weak_trend", "ranging"),
        _adx,
    ),
    "bbands": Reading(
        "above_upper_band or below_lower_band if the close is, else within_bands",
        ("above_upper_band", "below_lower_band", "within_bands"),
        _bands,
    ),
    "macd": Reading(
        "by the sign of macdhist: bullish above 0, bearish below, neutral at 0; with _cross on the candle on"
        " which it changed to that",
        ("bullish_cross", "bullish", "bearish_cross", "bearish", "neutral"),
        _macd,
    ),
    "rsi": Reading(
        "overbought from 70 on, oversold up to 30, else neutral", ("overbought", "oversold", "neutral"), _rsi
    ),
    "stoch": Reading(
        "by slowk: overbought from 80 on, oversold up to 20, else neutral",
        ("overbought", "oversold", "neutral"),
        _stochastic,
    ),
}
"""By function."""
