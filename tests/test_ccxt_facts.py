"""Facts through the real ccxt client equal the market behind the loopback exchange, digit by digit."""

from __future__ import annotations

import threading
from decimal import Decimal

import msgspec
import pytest

from shivx.errors import OriginInvalid, UnknownPair
from shivx.models import OrderBook, Ticker, Trades
from tests.ccxt_stage import EXCHANGES, NOW_MS, Stage, instrument
from tests.exchange_market import DAY_MS, amount_text


@pytest.fixture(params=EXCHANGES)
def stage(request):
    """Each exchange in turn."""
    with Stage(request.param) as stage:
        yield stage


@pytest.mark.parametrize("pair", ["BTC-USD", "SOL-USDC", "PEPE-USD", "DOGE-USD"])
def test_ticker_has_the_digits_of_the_exchange(stage, pair):
    """Price, bid, ask, high, low and volume are the market's own, trailing zeros included."""
    item = instrument(pair)
    ticker = stage.provider.ticker(stage.catalogue, pair)
    bids, asks = item.book(NOW_MS)
    day = item.bar(NOW_MS - DAY_MS, DAY_MS)
    last = item.deals_until(NOW_MS, 1)[0]
    assert ticker.pair == pair
    assert ticker.price == item.price(last.price)
    assert (ticker.bid, ticker.ask) == (item.price(bids[0][0]), item.price(asks[0][0]))
    assert (ticker.high_24h, ticker.low_24h) == (item.price(day.high), item.price(day.low))
    assert ticker.volume_24h == amount_text(day.volume)
    assert ticker.received_at == NOW_MS
    msgspec.convert(msgspec.to_builtins(ticker), Ticker)  # the models' own rules hold


def test_ticker_says_null_where_the_exchange_says_nothing():
    """Kraken gives no time and only the change since midnight; Coinbase's time is the last trade's."""
    with Stage("kraken") as kraken:
        ticker = kraken.provider.ticker(kraken.catalogue, "BTC-USD")
        assert (ticker.as_of, ticker.change_24h_percent, ticker.quote_volume_24h) == (None, None, None)
    with Stage("coinbaseexchange") as coinbase:
        item = instrument("BTC-USD")
        day, last = item.bar(NOW_MS - DAY_MS, DAY_MS), item.deals_until(NOW_MS, 1)[0]
        ticker = coinbase.provider.ticker(coinbase.catalogue, "BTC-USD")
        assert ticker.as_of == last.at
        assert ticker.quote_volume_24h is None
        assert ticker.change_24h_percent == pytest.approx((last.price / day.open - 1) * 100)
    with Stage("binance") as binance:
        ticker = binance.provider.ticker(binance.catalogue, "BTC-USD")
        assert ticker.as_of == NOW_MS
        assert ticker.quote_volume_24h == amount_text(day.volume * 3)
        assert ticker.change_24h_percent == pytest.approx((last.price / day.open - 1) * 100, abs=0.001)


def test_coinbase_price_survives_without_the_figures_of_the_day():
    """When only its statistics are down, Coinbase's price is still answered, without high and low."""
    with Stage("coinbaseexchange") as stage:
        stage.catalogue  # noqa: B018
        stage.server.fault("*/stats", "status", value="503")
        ticker = stage.provider.ticker(stage.catalogue, "BTC-USD")
        assert ticker.price
        assert (ticker.high_24h, ticker.low_24h, ticker.change_24h_percent) == (None, None, None)


def test_tickers_take_as_few_calls_as_the_exchange_allows(stage):
    """Several pairs cost one call, but on Coinbase two each; all prices are as asked singly."""
    catalogue = stage.catalogue
    pairs = ["SOL-USDC", "PEPE-USD", "BTC-USD"]
    before = stage.server.total
    found = stage.provider.tickers(catalogue, pairs)
    calls = stage.server.total - before
    assert calls == (6 if stage.exchange == "coinbaseexchange" else 1)
    assert list(found) == pairs
    assert [found[pair].price for pair in pairs] == [
        stage.provider.ticker(catalogue, pair).price for pair in pairs
    ]


def test_tickers_of_a_delisted_pair_do_not_cost_the_others(stage):
    """A pair that the exchange no longer knows is an error of its own; the others have their price."""
    raw = msgspec.msgpack.decode(stage.catalogue.native)
    gone = {
        **raw["markets"]["SOL-USDC"],
        "id": "GONEUSD",
        "symbol": "GONE/USD",
        "base": "GONE",
        "quote": "USD",
    }
    raw["markets"]["GONE-USD"] = gone
    catalogue = msgspec.structs.replace(stage.catalogue, native=msgspec.msgpack.encode(raw))
    found = stage.provider.tickers(catalogue, ["SOL-USDC", "GONE-USD", "BTC-USD"])
    assert isinstance(found["GONE-USD"], OriginInvalid)
    assert all(isinstance(found[pair], Ticker) for pair in ("SOL-USDC", "BTC-USD"))
    with pytest.raises(UnknownPair):
        stage.provider.ticker(catalogue, "GONE-USD")


@pytest.mark.parametrize("depth", [1, 20, 500])
def test_book_is_sorted_by_value_with_exact_digits(stage, depth):
    """Levels come best first by number, not by text, though the exchange sends them in disorder."""
    item = instrument("BTC-USD")
    stage.fault("book", "shuffled")
    book = stage.provider.order_book(stage.catalogue, "BTC-USD", depth)
    bids, asks = item.book(NOW_MS)
    assert [price for price, _ in book.bids] == [item.price(ticks) for ticks, _ in bids[:depth]]
    assert [price for price, _ in book.asks] == [item.price(ticks) for ticks, _ in asks[:depth]]
    cut = -5 if stage.exchange == "kraken" else None  # it sends three decimals
    assert [amount for _, amount in book.bids] == [amount_text(amount)[:cut] for _, amount in bids[:depth]]
    msgspec.convert(msgspec.to_builtins(book), OrderBook)


def test_book_sorts_prices_of_unlike_length():
    """999 comes below 1000, which as text it would not."""
    with Stage("binance") as stage:
        rows = {"bids": [["999.5", "1"], ["1000", "1"], ["99", "1"]], "asks": [["10000", "2"], ["1001", "1"]]}
        stage.fault("book", "body", value=rows)
        book = stage.ask("book")
        assert [price for price, _ in book.bids] == ["1000", "999.5", "99"]
        assert [price for price, _ in book.asks] == ["1001", "10000"]


def test_book_without_levels_is_a_book(stage):
    """An empty side is a fact, and levels without an amount are dropped."""
    full = stage.ask("book")
    stage.fault("book", "empty_book", times=1)
    assert stage.ask("book") == msgspec.structs.replace(full, bids=(), asks=())
    stage.fault("book", "zero_levels")
    assert stage.ask("book").bids[0] == full.bids[3]


def test_trades_are_newest_first_with_the_takers_side(stage):
    """Ids are text, sides the taker's though Coinbase gives the maker's, times exact to the ms."""
    item = instrument("DOGE-USD")
    found = stage.provider.trades(stage.catalogue, "DOGE-USD", 50)
    expected = [
        (
            str(deal.id),
            item.price(deal.price),
            amount_text(deal.amount),
            "buy" if deal.taker_buys else "sell",
            deal.at,
        )
        for deal in reversed(item.deals_until(NOW_MS, 50))
    ]
    assert [(trade.id, trade.price, trade.amount, trade.side, trade.at) for trade in found.trades] == expected
    assert {trade.side for trade in found.trades} == {"buy", "sell"}
    msgspec.convert(msgspec.to_builtins(found), Trades)


def test_trades_of_one_millisecond_are_ordered_by_id_and_counted_once():
    """Where times are equal the counting id decides; a trade sent twice is one trade."""
    with Stage("coinbaseexchange") as stage:
        rows = [
            {
                "time": "2025-11-22T19:42:00.000001Z",
                "trade_id": number,
                "price": "1",
                "size": "1",
                "side": "buy",
            }
            for number in (100, 99, 101, 99)
        ]
        stage.fault("trades", "body", value=rows)
        assert [trade.id for trade in stage.ask("trades").trades] == ["101", "100", "99"]


def test_concurrent_questions_get_their_own_answers(stage):
    """Sixteen threads that ask for different pairs at once never see each other's prices."""
    catalogue = stage.catalogue
    pairs = ["BTC-USD", "SOL-USDC", "PEPE-USD", "ETH-USDC"] * 4
    expected = {pair: stage.provider.ticker(catalogue, pair).price for pair in set(pairs)}
    wrong: list[object] = []
    start = threading.Barrier(len(pairs))

    def ask(pair: str) -> None:
        start.wait()
        for _ in range(3):
            try:
                price = stage.provider.ticker(catalogue, pair).price
                top = stage.provider.order_book(catalogue, pair, 1).bids[0][0]
            except Exception as error:  # noqa: BLE001
                wrong.append(error)
                return
            if price != expected[pair] or abs(Decimal(top) / Decimal(price) - 1) > 0.1:
                wrong.append((pair, price, top))

    threads = [threading.Thread(target=ask, args=(pair,)) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_each_question_has_a_client_of_its_own(stage):
    """What ccxt and we note on a client belongs to one question; the markets are shared."""
    first, second = (stage.provider._restored(stage.catalogue)[0] for _ in range(2))
    assert first is not second
    assert first.markets is second.markets


def test_a_pair_that_is_not_listed_costs_no_call(stage):
    """UnknownPair for every question about a pair outside the catalogue, without asking the exchange."""
    catalogue = stage.catalogue
    before = stage.server.total
    for ask in (
        lambda: stage.provider.ticker(catalogue, "NO-SUCH"),
        lambda: stage.provider.tickers(catalogue, ["BTC-USD", "NO-SUCH"]),
        lambda: stage.provider.order_book(catalogue, "NO-SUCH", 5),
        lambda: stage.provider.trades(catalogue, "btc-usd", 5),
        lambda: stage.provider.candles(catalogue, "NO-SUCH", "1h", 0, 3_600_000),
    ):
        with pytest.raises(UnknownPair):
            ask()
    assert stage.server.total == before
