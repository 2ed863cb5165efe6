"""Faults of the simulated exchange: slow, failing, and refusing what it does not trade."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cache_ext.testing import FakeClock
from shivx.errors import OriginUnavailable, UnknownPair
from shivx.models import TIMEFRAMES
from shivx.providers.base import MarketDataProvider
from shivx.providers.simulated import SimulatedExchange
from tests.simulated import BUSY, NOON, QUIET, SimulatedMarket

Question = Callable[[MarketDataProvider], object]
CATALOGUE = SimulatedMarket().catalogue
QUESTIONS: dict[str, Question] = {
    "catalogue": lambda exchange: exchange.catalogue(),
    "ticker": lambda exchange: exchange.ticker(CATALOGUE, BUSY),
    "tickers": lambda exchange: exchange.tickers(CATALOGUE, [BUSY, QUIET]),
    "order_book": lambda exchange: exchange.order_book(CATALOGUE, BUSY, 5),
    "trades": lambda exchange: exchange.trades(CATALOGUE, BUSY, 5),
    "candles": lambda exchange: exchange.candles(CATALOGUE, BUSY, "1m", NOON - 60_000, NOON),
}
every_question = pytest.mark.parametrize("ask", list(QUESTIONS.values()), ids=list(QUESTIONS))


@every_question
def test_each_call_takes_the_latency_once(ask):
    """One question costs one latency, a batch too, and the answer is of the time after it."""
    clock = FakeClock()
    exchange = SimulatedExchange(latency=0.3, now=clock.time, sleep=clock.sleep)
    before = clock.time()
    answer = ask(exchange)
    assert clock.time() - before == pytest.approx(0.3)
    fact = next(iter(answer.values())) if isinstance(answer, dict) else answer
    assert fact.received_at == int(clock.time() * 1000)


@every_question
def test_latency_beyond_the_timeout_fails_at_the_timeout(ask):
    """Whoever asks gets his error when the deadline has passed, not later."""
    clock = FakeClock()
    exchange = SimulatedExchange(latency=2.5, timeout=2.0, now=clock.time, sleep=clock.sleep)
    before = clock.time()
    with pytest.raises(OriginUnavailable):
        ask(exchange)
    assert clock.time() - before == pytest.approx(2.0)


@every_question
def test_share_of_calls_that_fail_is_the_failure_rate(ask):
    """A call fails if its draw, one a call, is below the rate; it has taken its time by then."""
    clock = FakeClock()
    draws = iter([0.1, 0.3, 0.29])
    exchange = SimulatedExchange(
        latency=1.0, failure_rate=0.3, now=clock.time, sleep=clock.sleep, draw=draws.__next__
    )
    before = clock.time()
    with pytest.raises(OriginUnavailable):
        ask(exchange)
    ask(exchange)
    with pytest.raises(OriginUnavailable):
        ask(exchange)
    assert clock.time() - before == pytest.approx(3.0)


@every_question
def test_failure_rate_of_one_fails_always(ask):
    """With a rate of 1 no draw helps."""
    with pytest.raises(OriginUnavailable):
        ask(SimulatedExchange(failure_rate=1.0, now=FakeClock().time))


def test_unknown_pair_is_refused_without_a_call():
    """The exchange is not asked about a pair that it does not list; only the exact name is known."""
    clock = FakeClock()
    exchange = SimulatedExchange(latency=1.0, now=clock.time, sleep=clock.sleep)
    before = clock.time()
    for pair in ("NO-SUCH", "btc-usdc", "BTC", "", "USDC-BTC"):
        with pytest.raises(UnknownPair):
            exchange.ticker(CATALOGUE, pair)
        with pytest.raises(UnknownPair):
            exchange.order_book(CATALOGUE, pair, 5)
        with pytest.raises(UnknownPair):
            exchange.trades(CATALOGUE, pair, 5)
        with pytest.raises(UnknownPair):
            exchange.candles(CATALOGUE, pair, "1m", 0, 60_000)
    assert clock.time() == before


def test_before_its_first_trade_the_market_is_unavailable():
    """In the first ms of 1970 there is no price, in a batch neither, and no crash."""
    market = SimulatedMarket(0)
    with pytest.raises(OriginUnavailable):
        market.ticker(BUSY)
    batch = market.exchange.tickers(CATALOGUE, [BUSY])
    assert isinstance(batch[BUSY], OriginUnavailable)


@pytest.mark.parametrize(
    "options",
    [
        {"latency": -1.0},
        {"failure_rate": 1.1},
        {"failure_rate": -0.1},
        {"timeout": 0.0},
        {"latency": float("nan")},
    ],
)
def test_arguments_out_of_range_are_refused(options):
    """A latency, rate or timeout that means nothing is an error at once."""
    with pytest.raises(ValueError, match="out of range"):
        SimulatedExchange(**options)


def test_it_is_a_provider_named_simulated():
    """It serves as a `MarketDataProvider`, whose name keeps its market apart from real ones."""
    provider: MarketDataProvider = SimulatedExchange(now=lambda: NOON / 1000)
    assert provider.source == "simulated"
    assert provider.catalogue().timeframes == tuple(TIMEFRAMES)
