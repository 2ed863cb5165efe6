"""Trades of the simulated exchange: an append-only tape that ends at the present."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulated import BUSY, DAY_MS, MINUTE_MS, NOON, PAIRS, SLOT_MS, TINY, SimulatedMarket

MARKET = SimulatedMarket()
moments = st.integers(NOON - 3000 * DAY_MS, NOON + 3000 * DAY_MS)
pairs = st.sampled_from(PAIRS)


@settings(max_examples=30, deadline=None)
@given(pair=pairs, now_ms=moments, limit=st.integers(1, 500))
def test_trades_are_the_newest_newest_first(pair, now_ms, limit):
    """As many as asked for; ids and times fall from the first to the last, and none is later than now."""
    MARKET.now_ms = now_ms
    answer = MARKET.trades(pair, limit)
    assert len(answer.trades) == limit
    assert all(int(a.id) > int(b.id) and a.at > b.at for a, b in pairwise(answer.trades))
    assert answer.trades[0].at <= answer.as_of <= answer.received_at == now_ms
    assert answer.trades == MARKET.trades(pair, 500).trades[:limit]


@settings(max_examples=30, deadline=None)
@given(pair=pairs, now_ms=moments, later=st.integers(0, 10 * MINUTE_MS))
def test_trades_only_ever_grow(pair, now_ms, later):
    """What was shown once is shown again, unchanged, behind what happened since."""
    MARKET.now_ms = now_ms
    before = MARKET.trades(pair, 50).trades
    MARKET.now_ms = now_ms + later
    assert MARKET.trades(pair, 500).trades[-1].at < now_ms
    assert [t for t in MARKET.trades(pair, 500).trades if t.at <= now_ms][:50] == list(before)


@settings(max_examples=30, deadline=None)
@given(pair=pairs, now_ms=moments)
def test_last_price_is_the_newest_trade_and_the_last_close(pair, now_ms):
    """Ticker, tape and open candle name one price."""
    MARKET.now_ms = now_ms
    newest = MARKET.trades(pair, 1).trades[0]
    candle = MARKET.last_candles(pair, "1d", 1)
    assert MARKET.ticker(pair).price == newest.price
    assert not candle or candle[-1][4] == newest.price


def test_a_trade_appears_at_its_own_time():
    """One ms before its time a trade is unknown, at its time it is the last price."""
    market = SimulatedMarket()
    for trade in market.trades(BUSY, 20).trades[:10]:
        market.now_ms = trade.at - 1
        assert market.trades(BUSY, 1).trades[0].id != trade.id
        market.now_ms = trade.at
        assert market.trades(BUSY, 1).trades[0] == trade
        assert market.ticker(BUSY).price == trade.price
        assert market.ticker(BUSY).as_of == trade.at


def test_as_of_is_the_slot_when_no_trade_came_since():
    """The market last moved when its current slot of five seconds began, or at a later trade."""
    market = SimulatedMarket()
    for second in range(120):
        market.now_ms = NOON + second * 1000 + 999
        newest = market.trades(BUSY, 1)
        assert newest.as_of == max(newest.trades[0].at, market.now_ms // SLOT_MS * SLOT_MS)


def test_taker_who_lifts_the_price_bought():
    """Within a minute a higher price is a buy, a lower one a sell; both occur."""
    trades = SimulatedMarket().trades(BUSY).trades
    for later, earlier in pairwise(trades):
        if later.at // MINUTE_MS == earlier.at // MINUTE_MS and later.price != earlier.price:
            assert later.side == ("buy" if float(later.price) > float(earlier.price) else "sell")
    assert {trade.side for trade in trades} == {"buy", "sell"}


def test_taker_at_an_unchanged_price_may_have_been_either():
    """Where prices are coarse, trades at the price of the one before are buys and sells alike."""
    trades = SimulatedMarket().trades(TINY).trades
    sides = [later.side for later, earlier in pairwise(trades) if later.price == earlier.price]
    assert 0.3 < sides.count("buy") / len(sides) < 0.7
