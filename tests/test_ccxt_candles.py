"""Candles: within each exchange's limits, exact, and honest about what is missing."""

from __future__ import annotations

import msgspec
import pytest

from shivx.errors import NotComputable, OriginUnavailable
from shivx.models import TIMEFRAMES, Candles
from shivx.providers.ccxt_candles import CandleRange
from shivx.providers.ccxt_profiles import UNKNOWN
from tests.ccxt_stage import EXCHANGES, HOUR_MS, NOW_MS, PATHS, Stage, instrument
from tests.exchange_market import amount_text
from tests.exchange_wire import Number

NEXT_HOUR = (NOW_MS // HOUR_MS + 1) * HOUR_MS


@pytest.fixture(params=EXCHANGES)
def stage(request):
    """Each exchange in turn."""
    with Stage(request.param) as stage:
        yield stage


def true_candles(pair, timeframe, since, until):
    """Return the candles of the market behind the exchange."""
    item, step = instrument(pair), TIMEFRAMES[timeframe]
    bars = [item.bar(at, step) for at in item.starts(since, min(until, NOW_MS + 1) - 1, step)]
    return [
        (
            bar.at,
            *(item.price(ticks) for ticks in (bar.open, bar.high, bar.low, bar.close)),
            amount_text(bar.volume),
        )
        for bar in bars
    ]


def values(candles):
    """As numbers: Coinbase drops trailing zeros."""
    return [(at, *map(float, numbers)) for at, *numbers in candles]


@pytest.mark.parametrize("timeframe", ["1m", "5m", "15m", "1h", "4h", "1d"])
def test_candles_equal_the_market_in_every_timeframe(stage, timeframe):
    """Open time, prices and volume are right, oldest first, the open candle last."""
    if timeframe not in stage.catalogue.timeframes:
        assert (stage.exchange, timeframe) == ("coinbaseexchange", "4h")
        with pytest.raises(NotComputable):
            stage.provider.candles(stage.catalogue, "PEPE-USD", timeframe, 0, TIMEFRAMES[timeframe])
        return
    step = TIMEFRAMES[timeframe]
    until = (NOW_MS // step + 1) * step
    found = stage.provider.candles(stage.catalogue, "PEPE-USD", timeframe, until - 100 * step, until)
    assert values(found.candles) == values(true_candles("PEPE-USD", timeframe, until - 100 * step, until))
    assert len(found.candles) == 100
    assert found.covered_since == until - 100 * step
    msgspec.convert(msgspec.to_builtins(found), Candles)


def test_candles_keep_digits_that_a_float_would_lose():
    """Coinbase's JSON numbers, even 9.12e-06, become fixed notation with the same digits."""
    with Stage("coinbaseexchange") as stage:
        rows = [
            [
                NOW_MS // HOUR_MS * 3600,
                *map(
                    Number,
                    ("9.10e-06", "1e-05", "9.2e-06", "9.123456789012345678e-06", "12345678901234567.125"),
                ),
            ]
        ]
        stage.fault("candles", "body", value=rows)
        found = stage.provider.candles(stage.catalogue, "PEPE-USD", "1h", NEXT_HOUR - HOUR_MS, NEXT_HOUR)
        assert found.candles == (
            (
                NEXT_HOUR - HOUR_MS,
                "0.0000092",
                "0.00001",
                "0.00000910",
                "0.000009123456789012345678",
                "12345678901234567.125",
            ),
        )


@pytest.mark.parametrize(("exchange", "calls"), [("kraken", 1), ("coinbaseexchange", 4), ("binance", 1)])
def test_a_thousand_candles_take_the_calls_that_the_limits_demand(exchange, calls):
    """Coinbase gives 300 a call, Binance 1000, and Kraken its 720 latest whatever is asked."""
    with Stage(exchange) as stage:
        since = NEXT_HOUR - 1000 * HOUR_MS
        catalogue, before = stage.catalogue, stage.server.total
        found = stage.provider.candles(catalogue, "SOL-USDC", "1h", since, NEXT_HOUR)
        assert stage.server.total - before == calls
        first = max(since, NEXT_HOUR - 720 * HOUR_MS) if exchange == "kraken" else since
        assert found.covered_since == first
        assert values(found.candles) == values(true_candles("SOL-USDC", "1h", first, NEXT_HOUR))


def test_kraken_is_not_asked_for_what_it_no_longer_has():
    """A range that lies before Kraken's 720 candles is answered as unknown, without a call."""
    with Stage("kraken") as stage:
        catalogue, before = stage.catalogue, stage.server.total
        until = NEXT_HOUR - 800 * HOUR_MS
        found = stage.provider.candles(catalogue, "SOL-USDC", "1h", until - 10 * HOUR_MS, until)
        assert (found.candles, found.covered_since) == ((), until)
        assert stage.server.total == before


@pytest.mark.parametrize("exchange", ["coinbaseexchange", "binance"])
def test_before_the_listing_there_is_nothing_and_that_is_known(exchange):
    """A pair has no candles before it was listed; the answer is complete all the same."""
    with Stage(exchange) as stage:
        listed = instrument("SOL-USDC").listed
        since, until = listed - 30 * 86_400_000, listed + 5 * 86_400_000
        found = stage.provider.candles(stage.catalogue, "SOL-USDC", "1d", since, until)
        assert [candle[0] for candle in found.candles] == list(range(listed, until, 86_400_000))
        assert found.covered_since == since


def test_only_the_range_that_was_asked_is_answered(stage):
    """since counts, until does not, and what the exchange adds is cut off."""
    since, until = NEXT_HOUR - 30 * HOUR_MS, NEXT_HOUR - 20 * HOUR_MS
    found = stage.provider.candles(stage.catalogue, "SOL-USDC", "1h", since, until)
    assert [candle[0] for candle in found.candles] == list(range(since, until, HOUR_MS))


def test_the_future_is_not_asked_for(stage):
    """Candles that open after now are neither asked for nor answered."""
    found = stage.provider.candles(stage.catalogue, "SOL-USDC", "1h", NEXT_HOUR, NEXT_HOUR + 500 * HOUR_MS)
    assert found.candles == ()
    last = stage.provider.candles(
        stage.catalogue, "SOL-USDC", "1h", NEXT_HOUR - HOUR_MS, NEXT_HOUR + 500 * HOUR_MS
    )
    assert [candle[0] for candle in last.candles] == [NEXT_HOUR - HOUR_MS]


def test_gaps_stay_gaps(stage):
    """An interval that the exchange leaves out is left out."""
    whole = stage.ask("candles")
    stage.fault("candles", "gaps")
    gappy = stage.ask("candles")
    assert 0 < len(gappy.candles) < len(whole.candles)
    assert set(gappy.candles) < set(whole.candles)
    assert gappy.covered_since == whole.covered_since


def test_doubled_candles_are_one(stage):
    """A candle that comes twice is answered once, in its place."""
    whole = stage.ask("candles")
    stage.fault("candles", "doubled")
    assert stage.ask("candles").candles == whole.candles


@pytest.mark.parametrize("exchange", ["coinbaseexchange"])
def test_a_range_counts_only_if_all_its_calls_succeed(exchange):
    """When the third of four calls fails, nothing is answered: half a range would be cached as whole."""
    with Stage(exchange) as stage:
        catalogue = stage.catalogue
        stage.server.fault(PATHS[exchange]["candles"], "replace", times=2, value={})
        stage.server.fault(PATHS[exchange]["candles"], "status", value="503")
        with pytest.raises(OriginUnavailable):
            stage.provider.candles(catalogue, "SOL-USDC", "1h", NEXT_HOUR - 1000 * HOUR_MS, NEXT_HOUR)
        assert sum(number for path, number in stage.server.counts().items() if "candles" in path) == 3


def test_of_an_unknown_exchange_only_what_it_gave_is_sure():
    """Without a profile, coverage begins with the first candle that came, or nowhere."""
    wanted = CandleRange("1h", 0, 10 * HOUR_MS, NOW_MS, UNKNOWN)
    candle = (3 * HOUR_MS, "1", "1", "1", "1", "0")
    assert wanted.covered_since([candle]) == 3 * HOUR_MS
    assert wanted.covered_since([]) == 10 * HOUR_MS


def test_pages_skip_what_an_answer_has_covered():
    """An exchange that jumps ahead to its first candle is not asked for the empty pages between."""
    wanted = CandleRange("1h", 0, 1000 * HOUR_MS, NOW_MS, UNKNOWN)
    found = {}
    pages = wanted.pages(100, found)
    assert next(pages) == (0, 100)
    found[700 * HOUR_MS] = ()
    assert next(pages) == (701 * HOUR_MS, 100)
    assert list(pages) == [(801 * HOUR_MS, 100), (901 * HOUR_MS, 99)]
