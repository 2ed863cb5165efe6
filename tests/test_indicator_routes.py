"""The routes of indicators: names, values, what is kept of them, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_ext.testing.clock import FakeClock
from shivx import names
from shivx.indicators import library
from shivx.indicators.computing import compute
from shivx.indicators.prices import Prices
from shivx.indicators.specs import parse_spec
from shivx.times import format_time, parse_time
from tests.caches import connected
from tests.indicator_prices import walk
from tests.market_stage import ScriptedExchange, Site, down, open_site, scripted_site, settings_for

HOUR = 3_600_000
PATH = "/api/indicators/BTC-USDC"
TWENTY = ",".join(
    ("rsi,macd,bbands,stoch,adx,ema:9,ema:21,sma:50,atr,cci,obv,mfi,willr,roc,trix,kama,hma,aroon,stddev,ad",)
)


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application on a scripted exchange whose candles have gaps."""
    with scripted_site(clock) as opened:
        yield opened


def values(site: Site, query: str) -> Any:
    """Return the indicators of an answer."""
    answer = site.get(f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json["indicators"]


def test_an_answer_has_the_fields_of_the_contract(site: Site) -> None:
    """Pair, timeframe, until when, values by the names that were asked for, and where they come from."""
    body = site.get("/api/indicators/btc-usdc?names=rsi:14,macd:12:26:9,bbands:20:2").json
    assert body == site.get(PATH).json
    assert body.keys() == {
        *("pair", "timeframe", "candles_until", "indicators"),
        *("source", "as_of", "received_at", "stale"),
    }
    assert (body["pair"], body["timeframe"], body["source"], body["stale"]) == (
        *("BTC-USDC", "1h", "scripted", False),
    )
    assert list(body["indicators"]) == ["rsi:14", "macd:12:26:9", "bbands:20:2"]
    assert 0 <= body["indicators"]["rsi:14"]["value"] <= 100
    assert {"macd", "macdsignal", "macdhist", "reading"} <= body["indicators"]["macd:12:26:9"].keys()
    newest = site.get("/api/market/ohlcv/BTC-USDC?limit=10&closed=true").json["candles"][-1][0]
    assert body["candles_until"] == format_time(newest + HOUR)


def test_the_catalogue_is_talibs(site: Site) -> None:
    """Every function of prices, none of the arithmetic, each with what it takes and gives."""
    answer = site.get("/api/indicators")
    listed = {each["name"]: each for each in answer.json["indicators"]}
    assert len(listed) > 150
    assert {"rsi", "macd", "cdldoji", "obv"} <= listed.keys()
    assert not {"sin", "add", "max", "mavp"} & listed.keys()
    assert listed["rsi"]["parameters"][0] == {
        **{"name": "timeperiod", "title": "Time Period", "type": "integer", "min": 2, "max": 1000},
        **{"default": 14, "default_from": None, "choices": None},
    }
    assert listed["rsi"]["lookback"] == 14
    assert listed["rsi"]["warm_up"] > 14
    assert "bollinger" in listed["bbands"]["aliases"]
    assert [each["name"] for each in listed.values() if each["anchored"]] == [
        *("ad", "nvi", "obv", "pvi", "pvt", "vwap", "wad"),
    ]
    read = {name for name, each in listed.items() if each["reading"] is not None}
    assert read == {"adx", "bbands", "macd", "rsi", "stoch"}
    assert "max-age=3600" in answer.headers["Cache-Control"]


def test_the_catalogue_says_of_each_function_what_talib_says(site: Site) -> None:
    """Names, inputs, defaults, outputs and lookback are its metadata's; below a range it refuses."""
    listed = {each["name"]: each for each in site.get("/api/indicators").json["indicators"]}
    talib, prices = library.load(), walk(60)
    for group, functions in talib.get_function_groups().items():
        for name in functions if group not in ("Math Operators", "Math Transform") else ():
            about = talib.abstract.Function(name)
            inputs = [
                each for given in about.info["input_names"].values() for each in np.ravel(given).tolist()
            ]
            if not set(inputs) <= {"open", "high", "low", "close", "volume"}:
                assert name.lower() not in listed
                continue
            found = listed.pop(name.lower())
            assert found["inputs"] == inputs
            assert {each["name"]: each["default"] for each in found["parameters"]} == dict(about.parameters)
            assert found["lookback"] == about.lookback
            outputs = about.info["output_names"]
            assert found["outputs"] == (outputs if len(outputs) > 1 else ["value"])
            for each in found["parameters"]:
                call = partial(getattr(talib, name), *(prices[given] for given in inputs))
                call(**{each["name"]: each["min"]})
                below = each["min"] - 1 if each["type"] == "integer" else np.nextafter(each["min"], -np.inf)
                if below > -1e37:
                    with pytest.raises(Exception, match="TA_BAD_PARAM"):
                        call(**{each["name"]: below})
    assert not listed


def test_equal_specifications_share_one_entry(site: Site) -> None:
    """However it is written, it is computed and kept once, and answered under each of the names."""
    found = values(site, "names=rsi,RSI:14,rsi:14.0,rsi:")
    assert list(found) == ["rsi", "RSI:14", "rsi:14.0", "rsi:"]
    assert len({str(each) for each in found.values()}) == 1
    before, _ = site.services.cache.runtime.near.sizes()
    values(site, "names=RSI:14.00&series=0")
    after, _ = site.services.cache.runtime.near.sizes()
    assert after - before == 1, "the stored response alone is new"


def test_values_do_not_depend_on_the_series_or_on_what_else_is_asked(site: Site) -> None:
    """Alone, among others, with or without a series: the same double."""
    alone = values(site, "names=ema:21")["ema:21"]
    with_others = values(site, f"names={TWENTY},trima:200&series=500")
    assert {**with_others["ema:21"], "series": None} == {**alone, "series": None}
    assert with_others["ema:21"]["series"][-1][1] == alone["value"]
    few = values(site, "names=ema:21&series=7")["ema:21"]["series"]
    assert few == with_others["ema:21"]["series"][-7:]


@pytest.fixture(scope="module")
def lasting_site() -> Iterator[Site]:
    """The same for all examples of a test."""
    with scripted_site(FakeClock()) as opened:
        yield opened


@settings(max_examples=40, deadline=None)
@given(
    asked=st.lists(st.sampled_from(sorted(library.functions())), min_size=1, max_size=8, unique=True),
    beside=st.integers(2, 200),
    length=st.integers(1, 500),
)
def test_whoever_asks_gets_the_same_values(
    lasting_site: Site, asked: list[str], beside: int, length: int
) -> None:
    """Any function, alone or among others, with a series of any length or none: the same doubles."""
    services = lasting_site.services
    among = values(lasting_site, f"names={','.join(asked)},ema:{beside}&series={length}")
    for name in asked:
        services.cache.clear()
        alone = values(lasting_site, f"names={name}")[name]
        series = among[name].pop("series")
        if among[name]["anchored_at"] is None:
            assert among[name] == alone
        else:  # more has to be the same for a whole series than for its newest value
            assert {**among[name], "anchored_at": 0} == {**alone, "anchored_at": 0}
        assert len(series) == length
        outputs = [value for key, value in alone.items() if key not in ("anchored_at", "reading")]
        assert series[-1][1:] == outputs


@pytest.mark.parametrize("name", ["obv", "ad"])
def test_what_never_forgets_says_from_when_on_it_counts(site: Site, clock: FakeClock, name: str) -> None:
    """OBV and AD are sums from `anchored_at` on, whoever asks; the anchor moves by 100 candles at a time."""
    found = values(site, f"names={name}")[name]
    assert values(site, f"names=ema:200,{name}&series=300")[name]["anchored_at"] == found["anchored_at"]
    since = parse_time(found["anchored_at"])
    until = site.services.candles.closed_until("1h")
    read = site.services.candles.candles("scripted", "BTC-USDC", "1h", since, until, closed=True)
    prices = Prices.of(read.fact.candles.candles)
    assert prices.times[0] == since
    assert found["value"] == compute(parse_spec(name), prices)["value"][-1]
    clock.advance(100 * 3600.0)
    later = parse_time(values(site, f"names={name}")[name]["anchored_at"])
    assert 0 <= later - since <= 200 * HOUR


def test_the_whole_series_has_enough_history(site: Site) -> None:
    """Not even the oldest of 500 values depends on where the history begins, of a slow average either."""
    assert values(site, "names=rma:60&series=500")["rma:60"]["anchored_at"] is None


def test_a_later_answer_says_the_same_of_the_same_candle(site: Site, clock: FakeClock) -> None:
    """Closed candles do not repaint, though the history that is read moves on."""
    first = dict(values(site, "names=rsi&series=500")["rsi"]["series"])
    clock.advance(150 * 3600.0)
    second = dict(values(site, "names=rsi&series=500")["rsi"]["series"])
    both = first.keys() & second.keys()
    assert len(both) > 200
    assert max(abs(first[at] - second[at]) for at in both) <= 1e-9 * 100


def test_values_are_those_of_the_whole_history(site: Site) -> None:
    """What is read is enough: four times as many candles give the same."""
    services = site.services
    until = services.candles.closed_until("1h")
    long = services.candles.candles("scripted", "BTC-USDC", "1h", until - 6000 * HOUR, until, closed=True)
    prices = Prices.of(long.fact.candles.candles)
    for name, item in values(site, f"names={TWENTY}").items():
        if item["anchored_at"] is None:
            for output, expected in compute(parse_spec(name), prices).items():
                assert item[output] == pytest.approx(expected[-1], rel=1e-9, abs=1e-9)
        else:
            assert name in {"obv", "ad", "kama"}


def test_the_open_candle_counts_only_if_asked(site: Site) -> None:
    """With `include_open` the newest candle may still change, and the answer ends as a price does."""
    closed, opened = (site.get(f"{PATH}?names=sma:2&series=2&include_open={each}") for each in (0, 1))
    assert closed.json["candles_until"] < opened.json["candles_until"]
    assert "max-age=5," in opened.headers["Cache-Control"]
    last = closed.json["indicators"]["sma:2"]["series"][-1]
    assert opened.json["indicators"]["sma:2"]["series"][0] == last


def test_values_end_when_the_next_candle_closes(site: Site, clock: FakeClock) -> None:
    """What was computed of closed candles is not served once there is another one."""
    before = site.get(PATH).json["candles_until"]
    clock.advance(3600.0)
    after = site.get(PATH)
    assert after.headers["X-Cache"] == "MISS"
    assert after.json["candles_until"] > before
    assert after.json["stale"] is False


def test_when_the_exchange_fails_the_last_values_are_served_marked(site: Site, clock: FakeClock) -> None:
    """They say so, and who wants nothing stale gets 503."""
    first = site.get(PATH).json
    site.exchange.failure = down()
    clock.advance(61.0 + 3600.0 - clock.time() % 3600.0)
    again = site.get(PATH)
    assert again.status_code == 200
    assert (again.json["stale"], again.json["indicators"]) == (True, first["indicators"])
    assert site.get(PATH, headers={"Cache-Control": "stale-if-error=0"}).status_code == 503


def test_a_trade_ends_the_indicators_of_its_pair_alone(site: Site) -> None:
    """The pair's tag is theirs as well."""
    other = "/api/indicators/ETH-USDC"
    site.get(PATH), site.get(other)
    site.services.cache.invalidate_tags(names.pair_tag("scripted", "BTC-USDC"))
    assert site.get(PATH).headers["X-Cache"] == "MISS"
    assert site.get(other).headers["X-Cache"] == "HIT"


def test_candles_are_read_once_for_twenty_indicators(clock: FakeClock) -> None:
    """Without gaps, all of them take one question to the exchange."""
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as site:
        values(site, "names=rsi")
        asked = site.exchange.count("candles")
        values(site, f"names={TWENTY}")
        assert site.exchange.count("candles") - asked <= 1


def test_twenty_cached_indicators_are_one_round_trip(
    redis_url: str, namespace: str, clock: FakeClock, trips: list[str]
) -> None:
    """Another process gets all of them from Redis at once, beside the look for the whole answer."""
    settings = settings_for(redis_url, cache_namespace=namespace)
    with (
        open_site(settings, ScriptedExchange(clock)) as one,
        open_site(settings, ScriptedExchange(clock)) as other,
    ):
        for each in (one, other):
            each.services.candles._now = clock.time
        assert one.get(f"{PATH}?names={TWENTY}").status_code == 200
        connected(other.services.cache)
        other.get("/api/market/pairs")
        trips.clear()
        backwards = ",".join(reversed(TWENTY.split(",")))
        answer = other.get(f"{PATH}?names={backwards}")
        assert answer.headers["X-Cache"] == "HIT"
        assert trips.count("read") == 2
        assert other.exchange.asked == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("names=nope", "unknown_choice"),
        ("names=rsi:1", "out_of_range"),
        ("names=rsi:1001", "out_of_range"),
        ("names=rsi:14:3", "too_many"),
        ("names=rsi:x", "malformed"),
        ("names=rsi:1.5", "malformed"),
        ("names=", "malformed"),
        (f"names={','.join(f'sma:{number}' for number in range(2, 53))}", "too_many"),
        ("series=501", "out_of_range"),
        ("timeframe=2h", "unknown_choice"),
    ],
)
def test_what_cannot_be_read_is_told(site: Site, query: str, code: str) -> None:
    """Each mistake is 400 and names its rule; the exchange is not asked."""
    answer = site.get(f"{PATH}?{query}")
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert [error["code"] for error in answer.json["errors"]] == [code]
    assert site.exchange.asked == []


def test_what_needs_too_many_candles_is_not_computable(site: Site) -> None:
    """A valid request that would need more than 5000 candles is 422."""
    answer = site.get(f"{PATH}?names=rsi,t3:1000")
    assert (answer.status_code, answer.json["code"]) == (422, "not_computable")


def test_too_little_history_is_null_or_says_where_it_begins(clock: FakeClock) -> None:
    """Of 60 candles there is no average of 200; an RSI there is, and what it depends on."""
    with open_site(settings_for(), ScriptedExchange(clock, max_history=160), clock=clock) as site:
        found = values(site, "names=sma:200,rsi,sma:5")
    assert found["sma:200"]["value"] is None
    assert found["rsi"]["value"] is not None
    assert found["rsi"]["anchored_at"] is not None
    assert found["sma:5"]["anchored_at"] is None


def test_correlations_are_those_of_common_returns(site: Site) -> None:
    """Rows and columns are in the order that was asked for; gaps are left out pair by pair."""
    path = "/api/indicators/correlation?pairs={}&timeframe=1h&window=168"
    body = site.get(path.format("ETH-USDC,BTC-USDC,SOL-USDC")).json
    matrix = np.array(body["matrix"])
    assert body["pairs"] == ["ETH-USDC", "BTC-USDC", "SOL-USDC"]
    assert np.diag(matrix).tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_array_equal(matrix, matrix.T)
    assert all(3 < count < 168 for row in body["returns"] for count in row)
    asked = len(site.exchange.asked)
    again = site.get(path.format("BTC-USDC,SOL-USDC,ETH-USDC"))
    assert again.headers["X-Cache"] == "HIT"
    assert np.array(again.json["matrix"]).tolist() == matrix[[1, 2, 0]][:, [1, 2, 0]].tolist()
    assert len(site.exchange.asked) == asked


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("pairs=BTC-USDC", "too_few"),
        (f"pairs={','.join(f'X{number}-USDC' for number in range(51))}", "too_many"),
        ("pairs=BTC-USDC,ETH-USDC&window=2", "out_of_range"),
        ("", "required"),
    ],
)
def test_a_correlation_is_of_two_to_fifty_pairs(site: Site, query: str, code: str) -> None:
    """Anything else is told."""
    answer = site.get(f"/api/indicators/correlation?{query}")
    assert answer.status_code == 400
    assert [error["code"] for error in answer.json["errors"]] == [code]
