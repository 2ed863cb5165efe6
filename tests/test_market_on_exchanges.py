"""The whole application, indicators too, on three exchanges, through the real ccxt and a real Redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.ccxt_stage import EXCHANGES, HOUR_MS, PATHS, instrument
from tests.exchange_market import amount_text
from tests.exchange_server import ExchangeServer
from tests.market_stage import Site, open_site, settings_for
from tests.waiting import until

SOL = instrument("SOL-USDC")
ROUTES = (
    "/api/market/pairs",
    "/api/market/price/SOL-USDC",
    "/api/market/prices?pairs=SOL-USDC,BTC-USDC",
    "/api/market/orderbook/SOL-USDC",
    "/api/market/ohlcv/SOL-USDC?limit=50&closed=true",
    "/api/market/trades/SOL-USDC?limit=50",
    "/api/market/tokens/SOL",
    "/api/indicators/SOL-USDC?names=rsi,macd,bbands,obv,sma:200",
    "/api/indicators/correlation?pairs=SOL-USDC,BTC-USDC&window=24",
)
GIVES_NO_TIME = "kraken"

OpenSite = Callable[..., Site]


class Digits(str):
    """The text of a JSON number that is no plain integer."""


def exact(answer: Any) -> Any:
    """Return the JSON of *answer* with numbers as the text that they are."""
    return json.loads(answer.data, parse_float=Digits)


@pytest.fixture(params=EXCHANGES)
def server(request: pytest.FixtureRequest) -> Iterator[ExchangeServer]:
    """Each exchange in turn, in this process' own time."""
    with ExchangeServer(request.param) as running:
        yield running


@pytest.fixture
def open_process(server: ExchangeServer, redis_url: str, namespace: str) -> Iterator[OpenSite]:
    """Open applications as processes of one fleet have them: one Redis, one namespace, one exchange."""
    with ExitStack() as stack:

        def open_one(**settings: Any) -> Site:
            return stack.enter_context(
                open_site(
                    settings_for(
                        redis_url,
                        **{
                            "cache_namespace": namespace,
                            "market_source": (f"ccxt:{server.exchange}",),
                            "market_source_url": server.url,
                            "market_timeout": 5.0,
                            **settings,
                        },
                    )
                )
            )

        yield open_one


@pytest.fixture
def server_kind() -> str:
    """What is proven here does not depend on the kind of Redis."""
    return "valkey"


@pytest.fixture
def site(open_process: OpenSite) -> Site:
    """One process."""
    return open_process()


def fact_of(body: Any) -> Any:
    """Return the answer's fact, that about SOL-USDC if it is a batch."""
    return body["prices"]["SOL-USDC"] if "prices" in body else body


@pytest.mark.parametrize("path", ROUTES)
def test_each_route_answers_from_the_exchange(site: Site, server: ExchangeServer, path: str) -> None:
    """Every route gives the exchange's facts, named after it, with its own time or null."""
    answer = site.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Cache"] == "MISS"
    fact = fact_of(answer.json)
    assert fact["source"] == server.exchange
    assert fact["stale"] is False
    assert fact["received_at"] is not None
    if server.exchange == GIVES_NO_TIME:
        assert fact["as_of"] is None
    elif "price" in path:
        assert fact["as_of"].endswith("Z")


def test_prices_have_the_digits_that_the_exchange_sent(site: Site) -> None:
    """Nothing between the exchange's bytes and the client's is a float."""
    for path in ROUTES[1:3]:
        ticker = fact_of(exact(site.get(path)))
        for field in ("price", "bid", "ask", "high_24h", "low_24h"):
            assert type(ticker[field]) is Digits
            assert len(ticker[field].partition(".")[2]) == SOL.decimals
        assert len(ticker["volume_24h"].partition(".")[2]) == 8
        assert abs(float(ticker["price"]) - 150) < 15


def test_candles_have_the_digits_that_the_exchange_sent(site: Site, server: ExchangeServer) -> None:
    """Closed candles are those of the exchange, to the last digit that it sent."""
    body = exact(site.get(ROUTES[4]))
    assert len(body["candles"]) == 50
    for at, *numbers in body["candles"]:
        bar = SOL.bar(at, HOUR_MS)
        sent = [SOL.price(ticks) for ticks in (bar.open, bar.high, bar.low, bar.close)]
        sent.append(amount_text(bar.volume))
        if server.exchange == "coinbaseexchange":  # its candles are JSON numbers without needless zeros
            sent = [text.rstrip("0").rstrip(".") for text in sent]
        assert [str(number) for number in numbers] == sent


def test_trades_have_the_digits_that_the_exchange_sent(site: Site) -> None:
    """Trades are those of the exchange: id, price, amount and the taker's side."""
    body = exact(site.get(ROUTES[5]))
    assert len(body["trades"]) == 50
    for trade in body["trades"]:
        deal = SOL.deal(int(trade["id"]))
        assert trade["price"] == SOL.price(deal.price)
        assert trade["amount"] == amount_text(deal.amount)
        assert trade["side"] == ("buy" if deal.taker_buys else "sell")


def test_a_book_has_the_digits_that_the_exchange_sent(site: Site) -> None:
    """Levels keep the zeros at their end."""
    body = exact(site.get(ROUTES[3]))
    assert len(body["bids"]) == len(body["asks"]) == 20
    assert {len(level[0].partition(".")[2]) for level in body["bids"] + body["asks"]} == {SOL.decimals}


def test_tiny_prices_have_no_exponent(site: Site) -> None:
    """0.0000091200 is written out."""
    text = site.get("/api/market/price/PEPE-USD").text
    assert '"price":0.00000' in text
    assert "e-" not in text


def test_a_timeframe_that_the_exchange_lacks_is_made(site: Site, server: ExchangeServer) -> None:
    """All six timeframes are listed and served; Coinbase has no four hours."""
    assert site.get("/api/market/pairs").json["timeframes"] == ["1m", "5m", "15m", "1h", "4h", "1d"]
    body = exact(site.get("/api/market/ohlcv/SOL-USDC?timeframe=4h&limit=30&closed=true"))
    assert len(body["candles"]) == 30
    if server.exchange == "coinbaseexchange":
        for at, first, *_, last, _volume in body["candles"]:
            hours = [SOL.bar(at + hour * HOUR_MS, HOUR_MS) for hour in range(4)]
            assert [float(first), float(last)] == [hours[0].open / 100, hours[-1].close / 100]


def test_long_ranges_take_several_calls_and_end_where_history_does(
    site: Site, server: ExchangeServer
) -> None:
    """A thousand hours are all there, or as many as the exchange gives, and then the answer says so."""
    answer = site.get("/api/market/ohlcv/SOL-USDC?limit=1000&closed=true")
    assert answer.status_code == 200
    opened = [candle[0] for candle in answer.json["candles"]]
    assert opened == list(range(opened[0], opened[-1] + HOUR_MS, HOUR_MS))
    if server.exchange == "kraken":
        assert len(opened) in {718, 719}  # in the second in which a candle settles, one less
        assert answer.json["complete"] is False
        assert site.get("/api/market/pairs").json["max_history"] == 720
    else:
        assert len(opened) == 1000
        assert answer.json["complete"] is True


@pytest.mark.parametrize("path", ROUTES)
def test_a_second_process_does_not_ask_the_exchange(
    open_process: OpenSite, server: ExchangeServer, path: str
) -> None:
    """What one process of the fleet has loaded another serves: not even markets are loaded again."""
    first = open_process().get(path)
    asked = server.total
    second = open_process().get(path)
    assert second.headers["X-Cache"] == "HIT"
    assert second.data == first.data
    assert server.total == asked


def test_a_second_process_asks_for_what_is_missing_only(
    open_process: OpenSite, server: ExchangeServer
) -> None:
    """With the list of pairs in Redis, another process' first price is a single question."""
    open_process().get("/api/market/pairs")
    asked = server.counts()
    answer = open_process().get("/api/market/orderbook/SOL-USDC")
    assert answer.headers["X-Cache"] == "MISS"
    changed = {path for path, count in server.counts().items() if count != asked.get(path)}
    assert len(changed) == 1


@pytest.mark.parametrize(
    ("kind", "value", "status", "code"),
    [
        ("limit", None, 503, "origin_unavailable"),
        ("status", "500", 503, "origin_unavailable"),
        ("reset", None, 503, "origin_unavailable"),
        ("html", 200, 502, "origin_invalid"),
        ("nulls", None, 502, "origin_invalid"),
        ("infinite", None, 502, "origin_invalid"),
        ("unknown_pair", None, 404, "unknown_pair"),
    ],
)
def test_faults_of_the_exchange_are_problem_documents(
    site: Site, server: ExchangeServer, kind: str, value: Any, status: int, code: str
) -> None:
    """An exchange that is down is 503, one that talks nonsense 502, a pair it has dropped 404."""
    site.get("/api/market/pairs")
    server.fault(PATHS[server.exchange]["book"], kind, None, value)
    answer = site.get("/api/market/orderbook/SOL-USDC")
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.content_type == "application/problem+json"
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert server.url not in answer.text


def test_an_exchange_that_hangs_is_given_up(open_process: OpenSite, server: ExchangeServer) -> None:
    """SHIVX_MARKET_TIMEOUT is the whole time that a request may wait for the exchange."""
    site = open_process(market_timeout=0.4)
    server.fault("*", "hang")
    answer = site.get("/api/market/price/SOL-USDC")
    assert (answer.status_code, answer.json["code"]) == (503, "origin_unavailable")


def test_when_the_exchange_goes_down_the_last_value_is_served_marked(
    open_process: OpenSite, server: ExchangeServer
) -> None:
    """Past its ttl a value is served as stale; once the exchange is back it is fresh again."""
    site, path = open_process(cache_market_price_ttl=0.2), "/api/market/price/SOL-USDC"
    first = site.get(path)
    server.fault("*", "status", None, "503")
    until(lambda: site.get(path).headers["X-Cache"] == "STALE", "the value is past its ttl")
    stale = site.get(path)
    assert stale.status_code == 200
    assert stale.json == {**first.json, "stale": True}
    assert site.get(path, headers={"Cache-Control": "stale-if-error=0"}).status_code == 503
    server.heal()
    until(lambda: site.get(path).headers["X-Cache"] in {"MISS", "HIT"}, "it is fresh again")


def test_a_batch_is_one_call_where_the_exchange_has_one(site: Site, server: ExchangeServer) -> None:
    """Kraken and Binance tell several prices at once; a pair that no exchange has costs nothing."""
    site.get("/api/market/pairs")
    asked = server.total
    answer = site.get("/api/market/prices?pairs=SOL-USDC,BTC-USDC,ETH-USDC,NO-SUCH")
    assert len(answer.json["prices"]) == 3
    assert answer.json["errors"].keys() == {"NO-SUCH"}
    if server.exchange != "coinbaseexchange":
        assert server.total == asked + 1


def test_two_sources_are_served_side_by_side(redis_url: str, namespace: str) -> None:
    """Of a simulated and a real exchange the first is the default, and neither passes for the other."""
    with ExchangeServer("kraken") as kraken:
        settings = settings_for(
            redis_url,
            cache_namespace=namespace,
            market_source=("simulated", "ccxt:kraken"),
            market_source_url=kraken.url,
        )
        with open_site(settings) as site:
            default = site.get("/api/market/price/SOL-USDC").json
            chosen = site.get("/api/market/price/SOL-USDC?source=kraken").json
            again = site.get("/api/market/price/SOL-USDC?source=simulated").json
    assert (default["source"], chosen["source"], again["source"]) == ("simulated", "kraken", "simulated")
    assert default["price"] == again["price"]


def test_the_address_is_that_of_the_first_exchange() -> None:
    """SHIVX_MARKET_SOURCE_URL moves the first exchange; all others stay where they are."""
    settings = settings_for(
        market_source=("simulated", "ccxt:kraken", "ccxt:binance"), market_source_url="http://127.0.0.1:9"
    )
    with open_site(settings) as site:
        kraken, binance = (site.services.providers[name]._provider for name in ("kraken", "binance"))
        assert (kraken._base_url, binance._base_url) == ("http://127.0.0.1:9", None)
        assert site.services.market.sources == ("simulated", "kraken", "binance")
