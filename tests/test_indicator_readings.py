"""Readings of indicators, and correlations, from made-up numbers."""

from __future__ import annotations

import numpy as np
import pytest

from shivx.indicators.correlation import correlate, log_returns
from shivx.indicators.prices import Prices
from shivx.indicators.readings import READINGS, read
from tests.indicator_prices import walk


@pytest.mark.parametrize(
    ("name", "outputs", "word"),
    [
        ("rsi", {"value": [70]}, "overbought"),
        ("rsi", {"value": [30]}, "oversold"),
        ("rsi", {"value": [50]}, "neutral"),
        ("rsi", {"value": [np.nan]}, None),
        ("macd", {"macdhist": [-1, 1]}, "bullish_cross"),
        ("macd", {"macdhist": [0, 1]}, "bullish_cross"),
        ("macd", {"macdhist": [1, 1]}, "bullish"),
        ("macd", {"macdhist": [1, -1]}, "bearish_cross"),
        ("macd", {"macdhist": [-1, -1]}, "bearish"),
        ("macd", {"macdhist": [1, 0]}, "neutral"),
        ("macd", {"macdhist": [np.nan, 1]}, "bullish"),
        ("bbands", {"upperband": [1], "lowerband": [0]}, "above_upper_band"),
        ("bbands", {"upperband": [1e9], "lowerband": [1e8]}, "below_lower_band"),
        ("bbands", {"upperband": [1e9], "lowerband": [0]}, "within_bands"),
        ("stoch", {"slowk": [80], "slowd": [1]}, "overbought"),
        ("stoch", {"slowk": [20], "slowd": [99]}, "oversold"),
        ("stoch", {"slowk": [50], "slowd": [99]}, "neutral"),
        ("adx", {"value": [25]}, "trending"),
        ("adx", {"value": [20]}, "weak_trend"),
        ("adx", {"value": [19]}, "ranging"),
        ("sma", {"value": [19]}, None),
    ],
)
def test_a_reading_follows_its_rule(name: str, outputs: dict[str, list[float]], word: str | None) -> None:
    """Each word comes by the rule that the catalogue tells, and none without a value."""
    found = read(name, {key: np.array(values, float) for key, values in outputs.items()}, walk(5))
    assert found == word
    assert word is None or word in READINGS[name].words


def candles(times: list[int], closes: list[float]) -> Prices:
    """Return candles that close so."""
    rows = np.array([closes] * 4 + [[1.0] * len(closes)])
    return Prices(np.array(times), rows)


def test_returns_are_from_one_candle_to_the_next_by_time() -> None:
    """Over a gap there is none, rather than one of several candles' movement."""
    returns = log_returns(candles([0, 10, 30, 40], [1.0, np.e, 5.0, 5.0 * np.e]), 0, 50, 10)
    np.testing.assert_allclose(returns, [1.0, np.nan, np.nan, 1.0])


def test_correlations_are_numpys_where_nothing_is_missing() -> None:
    """On whole rows the matrix is the textbook's."""
    returns = list(np.random.default_rng(1).normal(0.001, 0.01, (5, 168)))
    matrix, counts = correlate(returns)
    np.testing.assert_allclose(matrix, np.corrcoef(returns), rtol=1e-9)
    assert {count for row in counts for count in row} == {168}


def test_correlations_use_the_moments_that_both_have() -> None:
    """Each pair of rows by itself: a gap in one leaves the others as they are."""
    returns = np.random.default_rng(2).normal(0, 0.01, (3, 100))
    returns[0, 10:40] = np.nan
    returns[1, 30:60] = np.nan
    matrix, counts = correlate(list(returns))
    common = ~np.isnan(returns[0]) & ~np.isnan(returns[1])
    assert matrix[0][1] == pytest.approx(np.corrcoef(returns[0][common], returns[1][common])[0, 1], rel=1e-9)
    assert counts[0][1] == 50


@pytest.mark.parametrize("constant", [0.0, 0.01])
def test_what_does_not_vary_has_no_correlation(constant: float) -> None:
    """A flat price, or one that always rises by the same, goes with nothing, not even with itself."""
    matrix, _ = correlate([np.full(50, constant), np.random.default_rng(3).normal(0, 1, 50)])
    assert matrix[0] == [None, None]
    assert matrix[1] == [None, 1.0]


def test_too_few_common_returns_are_no_correlation() -> None:
    """Two points always lie on a line."""
    one, other = np.random.default_rng(4).normal(0, 1, (2, 50))
    one[2:] = np.nan
    matrix, counts = correlate([one, other])
    assert matrix[0][1] is None
    assert counts[0][1] == 2
