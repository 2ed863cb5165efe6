"""Candles of the simulated exchange are exact sums, at every length, of the trades it shows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shivx.models import TIMEFRAMES
from shivx.providers.simulated.exchange import MAX_CANDLES
from tests.simulated import (
    BUSY,
    DAY_MS,
    MINUTE_MS,
    NOON,
    PAIRS,
    QUIET,
    SimulatedMarket,
    aggregate,
    aggregate_trades,
)

ERA_MS = 2**20 * MINUTE_MS  # all paths are 0 where eras meet
ERA_START = NOON // ERA_MS * ERA_MS
MARKET = SimulatedMarket()

moments = st.one_of(
    st.integers(NOON - 3000 * DAY_MS, NOON + 3000 * DAY_MS),
    st.integers(ERA_START - DAY_MS, ERA_START + DAY_MS),
)
pairs = st.sampled_from(PAIRS)


@pytest.mark.parametrize(("smaller", "larger"), list(pairwise(TIMEFRAMES)))
@settings(max_examples=12, deadline=None)
@given(pair=pairs, now_ms=moments)
def test_candle_is_the_sum_of_the_next_smaller_ones(smaller, larger, pair, now_ms):
    """Open, high, low, close and volume of the last three candles, the open one too, are their parts."""
    MARKET.now_ms = now_ms
    whole = MARKET.last_candles(pair, larger, 3)
    length = TIMEFRAMES[larger]
    parts = MARKET.candles(pair, smaller, now_ms // length * length - 2 * length, now_ms + length).candles
    assert list(whole) == aggregate(parts, length)


@pytest.mark.parametrize("pair", PAIRS)
def test_day_is_the_sum_of_its_minutes(pair):
    """A day equals 1440 minutes and an hour 60, without the lengths between."""
    market = SimulatedMarket()
    midnight = NOON // DAY_MS * DAY_MS
    minutes = market.candles(pair, "1m", midnight - DAY_MS, midnight).candles
    for timeframe in ("1h", "1d"):
        whole = market.candles(pair, timeframe, midnight - DAY_MS, midnight).candles
        assert list(whole) == aggregate(minutes, TIMEFRAMES[timeframe])


@settings(max_examples=40, deadline=None)
@given(pair=pairs, now_ms=moments)
def test_minutes_are_the_sums_of_their_trades(pair, now_ms):
    """The trades shown add up to the candles shown, the open one included."""
    MARKET.now_ms = now_ms
    trades = MARKET.trades(pair).trades
    complete_since = (trades[-1].at // MINUTE_MS + 1) * MINUTE_MS
    minutes = MARKET.candles(pair, "1m", complete_since, now_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS).candles
    assert list(minutes) == aggregate_trades([t for t in trades if t.at >= complete_since], MINUTE_MS)


@settings(max_examples=25, deadline=None)
@given(pair=pairs, now_ms=moments, timeframe=st.sampled_from(list(TIMEFRAMES)), back=st.integers(0, 90))
def test_one_candle_alone_is_the_same_as_in_a_range(pair, now_ms, timeframe, back):
    """Random access and range access agree, across the borders of whatever is remembered."""
    MARKET.now_ms = now_ms
    length = TIMEFRAMES[timeframe]
    opened = (now_ms // length - back) * length
    alone = MARKET.candles(pair, timeframe, opened, opened + length).candles
    assert alone == tuple(c for c in MARKET.last_candles(pair, timeframe, 91) if c[0] == opened)


@settings(max_examples=25, deadline=None)
@given(pair=pairs, now_ms=moments, later=st.integers(1, 3 * DAY_MS))
def test_closed_candles_never_change(pair, now_ms, later):
    """What is closed now looks the same at any later time."""
    MARKET.now_ms = now_ms
    end = now_ms // MINUTE_MS * MINUTE_MS
    closed = MARKET.candles(pair, "1m", end - 30 * MINUTE_MS, end).candles
    MARKET.now_ms = now_ms + later
    assert MARKET.candles(pair, "1m", end - 30 * MINUTE_MS, end).candles == closed


@pytest.mark.parametrize("timeframe", list(TIMEFRAMES))
def test_no_candle_opens_after_now(timeframe):
    """A range that reaches into the future ends with the open candle."""
    length = TIMEFRAMES[timeframe]
    market = SimulatedMarket(NOON + 34_567)
    opened = market.now_ms // length * length
    candles = market.candles(BUSY, timeframe, opened - 5 * length, opened + 50 * length).candles
    assert [c[0] for c in candles] == [opened + n * length for n in range(-5, 1)]
    assert market.candles(BUSY, timeframe, opened + length, opened + 9 * length).candles == ()


def test_open_candle_takes_no_trade_from_the_future():
    """Second by second the open minute holds exactly the trades that have happened."""
    market = SimulatedMarket()
    seen = []
    for second in range(60):
        market.now_ms = NOON + second * 1000
        trades = [t for t in market.trades(BUSY, 20).trades if t.at >= NOON]
        assert list(market.candles(BUSY, "1m", NOON, NOON + MINUTE_MS).candles) == aggregate_trades(
            trades, MINUTE_MS
        )
        seen.append(len(trades))
    assert seen == sorted(seen)
    assert seen[-1] > 5


def test_busy_pair_trades_every_minute():
    """A liquid pair has no gap in 2000 minutes."""
    candles = SimulatedMarket().candles(BUSY, "1m", NOON - 2000 * MINUTE_MS, NOON).candles
    assert [candle[0] for candle in candles] == list(range(NOON - 2000 * MINUTE_MS, NOON, MINUTE_MS))


def test_gaps_stay_gaps():
    """A minute without trade has no candle: a third of a quiet pair's minutes, more or less."""
    market = SimulatedMarket()
    opened = {c[0] for c in market.candles(QUIET, "1m", NOON - 300 * MINUTE_MS, NOON).candles}
    traded = {t.at // MINUTE_MS * MINUTE_MS for t in market.trades_back_to(QUIET, NOON - 300 * MINUTE_MS - 1)}
    assert opened == {minute for minute in traded if minute < NOON}
    assert 60 < 300 - len(opened) < 180


def test_high_and_low_enclose_open_and_close():
    """Every candle's high is its highest price, its low the lowest."""
    for candle in SimulatedMarket().last_candles(QUIET, "1m", 1000):
        opening, high, low, closing = map(float, candle[1:5])
        assert low <= min(opening, closing) <= max(opening, closing) <= high


def test_long_range_gives_the_newest_candles_and_says_so():
    """Beyond the most that one call gives, `covered_since` names the first candle it could tell of."""
    market = SimulatedMarket()
    answer = market.candles(BUSY, "1m", NOON - 4 * DAY_MS, NOON)
    assert answer.covered_since == NOON - MAX_CANDLES * MINUTE_MS == answer.candles[0][0]
    assert len(answer.candles) == MAX_CANDLES
    assert market.candles(BUSY, "1m", NOON - DAY_MS, NOON).covered_since == NOON - DAY_MS


def test_candles_go_back_to_1970():
    """The market has always existed; before the Unix epoch it says that nothing was traded."""
    market = SimulatedMarket()
    candles = market.candles(BUSY, "1d", -3 * DAY_MS, 2 * DAY_MS)
    assert [c[0] for c in candles.candles] == [0, DAY_MS]
    assert candles.covered_since == -3 * DAY_MS
