"""Stylised facts: what returns of real markets share, the simulated ones show too (on a fixed seed)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.simulated import DAY_MS, NOON, SimulatedMarket

DAYS = 30


@pytest.fixture(scope="module")
def returns() -> dict[str, np.ndarray]:
    """Logarithmic returns over one minute, of 30 days."""
    market = SimulatedMarket()
    return {pair: np.diff(np.log(closes(market, pair))) for pair in ("BTC-USDC", "ETH-USDC")}


def closes(market: SimulatedMarket, pair: str) -> np.ndarray:
    """Return the closes of all minutes of the last 30 days."""
    days = range(NOON - DAYS * DAY_MS, NOON, DAY_MS)
    return np.array(
        [float(c[4]) for day in days for c in market.candles(pair, "1m", day, day + DAY_MS).candles]
    )


def autocorrelation(series: np.ndarray, lag: int) -> float:
    """Return the correlation of *series* with itself *lag* minutes later."""
    return float(np.corrcoef(series[lag:], series[:-lag])[0, 1])


def test_returns_have_fat_tails(returns):
    """The kurtosis of a minute's return is far above the 3 of a Gaussian."""
    for series in returns.values():
        standard = (series - series.mean()) / series.std()
        assert 8 < (standard**4).mean() < 40


def test_volatility_clusters(returns):
    """Large moves follow large moves, for hours; the effect fades slowly."""
    for series in returns.values():
        fading = [autocorrelation(np.abs(series), lag) for lag in (1, 10, 60)]
        assert fading[0] > 0.2
        assert fading[0] > fading[1] > fading[2] > 0.05


def test_direction_cannot_be_foretold_from_the_past_return(returns):
    """Returns are uncorrelated in time."""
    for series in returns.values():
        assert all(abs(autocorrelation(series, lag)) < 0.04 for lag in (1, 2, 5, 15, 60))


def test_majors_move_together(returns):
    """The correlation of BTC and ETH is about 0.7."""
    assert np.corrcoef(returns["BTC-USDC"], returns["ETH-USDC"])[0, 1] == pytest.approx(0.7, abs=0.06)


def test_volatility_is_that_of_the_table(returns):
    """A day of BTC moves by some 2.6 percent, of ETH by 3.4; a month may differ from the mean by half."""
    daily = {pair: series.std() * np.sqrt(1440) for pair, series in returns.items()}
    assert daily["BTC-USDC"] == pytest.approx(0.026, rel=0.5)
    assert daily["ETH-USDC"] / daily["BTC-USDC"] == pytest.approx(34 / 26, rel=0.1)


def test_prices_stay_around_their_reference():
    """In twelve years BTC is never below a tenth nor above ten times its reference price."""
    market = SimulatedMarket()
    first = NOON // DAY_MS * DAY_MS - 2000 * DAY_MS
    spans = ((first, NOON), (first - 2000 * DAY_MS, first))
    days = [
        c
        for since, until in spans
        for c in market.candles("BTC-USDC", "1d", since, until // DAY_MS * DAY_MS).candles
    ]
    assert len(days) == 4000
    assert 6800 < min(float(c[3]) for c in days) < max(float(c[2]) for c in days) < 680_000
