"""Tickers of the simulated exchange: the sums of the last 24 hours, to the millisecond."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.simulated import BUSY, DAY_MS, MINUTE_MS, NOON, NORMAL, PAIRS, QUIET, TINY, SimulatedMarket


@pytest.mark.parametrize("pair", [BUSY, NORMAL, QUIET, TINY])
@pytest.mark.parametrize("now_ms", [NOON, NOON + 23_456, NOON - 100 * DAY_MS + 59_999])
def test_day_figures_are_the_sums_of_its_trades(pair, now_ms):
    """High, low, volume, turnover and change follow from the trades of (now - 24 h, now], all of them."""
    market = SimulatedMarket(now_ms)
    trades = market.trades_back_to(pair, now_ms - DAY_MS)
    prices = [Decimal(trade.price) for trade in trades]
    amounts = [Decimal(trade.amount) for trade in trades]
    ticker = market.ticker(pair)
    assert Decimal(ticker.high_24h) == max(prices)
    assert Decimal(ticker.low_24h) == min(prices)
    assert Decimal(ticker.volume_24h) == sum(amounts)
    assert Decimal(ticker.quote_volume_24h) == sum(p * a for p, a in zip(prices, amounts, strict=True))
    change = (prices[0] / prices[-1] - 1) * 100
    assert ticker.change_24h_percent == pytest.approx(float(change), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("pair", PAIRS)
def test_day_figures_are_the_sums_of_its_candles(pair):
    """In the last ms of a minute the 24 hours are 1440 whole candles."""
    market = SimulatedMarket(NOON - 1)
    candles = market.candles(pair, "1m", NOON - DAY_MS, NOON).candles
    ticker = market.ticker(pair)
    assert Decimal(ticker.high_24h) == max(Decimal(c[2]) for c in candles)
    assert Decimal(ticker.low_24h) == min(Decimal(c[3]) for c in candles)
    assert Decimal(ticker.volume_24h) == sum(Decimal(c[5]) for c in candles)


def test_day_begins_just_after_this_moment_yesterday():
    """A trade counts until its age is 24 hours, not at 24 hours."""
    market = SimulatedMarket()
    for trade in market.trades(BUSY).trades[:3]:
        market.now_ms = trade.at + DAY_MS - 1
        with_it = sum(Decimal(other.amount) for other in market.trades_back_to(BUSY, trade.at - 1))
        assert Decimal(market.ticker(BUSY).volume_24h) == with_it
        market.now_ms += 1
        new = sum(
            Decimal(other.amount) for other in market.trades(BUSY, 1).trades if other.at == market.now_ms
        )
        assert Decimal(market.ticker(BUSY).volume_24h) == with_it - Decimal(trade.amount) + new


def test_batch_gives_the_tickers_of_one_moment():
    """A hundred tickers are those that a hundred questions give."""
    market = SimulatedMarket()
    pairs = list(market.catalogue.markets)[:100]
    batch = market.exchange.tickers(market.catalogue, pairs)
    assert list(batch) == pairs
    assert all(batch[pair] == market.ticker(pair) for pair in pairs)


def test_batch_leaves_out_what_is_not_listed():
    """An unknown pair has no answer and spoils none of the others."""
    market = SimulatedMarket()
    assert list(market.exchange.tickers(market.catalogue, [BUSY, "NO-SUCH", QUIET])) == [BUSY, QUIET]


def test_first_day_has_figures_of_what_there_was():
    """Ten minutes after the market began the figures cover ten minutes."""
    market = SimulatedMarket(10 * MINUTE_MS)
    volume = sum(Decimal(trade.amount) for trade in market.trades(BUSY, 500).trades)
    assert Decimal(market.ticker(BUSY).volume_24h) == volume
