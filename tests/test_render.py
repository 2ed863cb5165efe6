"""Market facts as JSON: the exchange's own digits, the contract's fields, and nothing that is no JSON."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shivx.digits import number_text, rows
from shivx.errors import OriginInvalid
from shivx.models import Candles, Catalogue, Market, OrderBook, Ticker, Token, Trade, Trades
from shivx.render import (
    finite,
    render_batch,
    render_book,
    render_candles,
    render_catalogue,
    render_ticker,
    render_token,
    render_trades,
)

AT = 1795374074123
ORIGIN = {"source": "kraken", "stale": False}
PROVENANCE = {
    "source": "kraken",
    "as_of": None,
    "received_at": "2026-11-22T19:01:14.123Z",
    "stale": False,
}
DIGITS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?", fullmatch=True)


def refuse_constant(name):
    """Fail on NaN and Infinity, which Python's JSON reader accepts."""
    raise AssertionError(name)


def load(data):
    """Return the JSON *data* with every number as the text that it was written as."""
    return json.loads(
        data, parse_float=str, parse_int=lambda text: f"int {text}", parse_constant=refuse_constant
    )


def ticker(**fields):
    """Return a ticker."""
    return Ticker("BTC-USDC", **{"price": "84123.10", "received_at": AT, **fields})


def candles(*rows_):
    """Return one-minute candles."""
    return Candles("BTC-USDC", "1m", rows_, 0, AT)


def render_some_candles(*rows_, **more):
    """Return *rows_* as the answer's JSON."""
    return render_candles(
        candles(*rows_), open_candle=True, complete=False, next_cursor="abc", **ORIGIN, **more
    )


def test_ticker_has_the_contract_s_fields():
    """A price carries all fields in the contract's order, null where the exchange gave none."""
    answer = json.loads(render_ticker(ticker(bid="84123.0", change_24h_percent=-1.5), **ORIGIN))
    assert list(answer.items()) == [
        ("pair", "BTC-USDC"),
        ("price", 84123.1),
        ("bid", 84123.0),
        ("ask", None),
        ("high_24h", None),
        ("low_24h", None),
        ("volume_24h", None),
        ("quote_volume_24h", None),
        ("change_24h_percent", -1.5),
        *PROVENANCE.items(),
    ]


def test_as_of_is_the_exchange_s_time():
    """`as_of` is RFC 3339 where the exchange gives a time; `stale` is passed on."""
    answer = json.loads(render_ticker(ticker(as_of=0), source="simulated", stale=True))
    assert (answer["as_of"], answer["source"], answer["stale"]) == (
        "1970-01-01T00:00:00.000Z",
        "simulated",
        True,
    )


@given(DIGITS)
def test_digits_stay_as_the_exchange_wrote_them(digits):
    """Numbers are written with exactly the given digits, trailing zeros included; strings have the same."""
    as_number = load(render_ticker(ticker(price=digits), **ORIGIN))["price"]
    assert as_number.removeprefix("int ") == digits
    assert load(render_ticker(ticker(price=digits), numbers="string", **ORIGIN))["price"] == digits


@given(st.lists(st.tuples(DIGITS, DIGITS), max_size=30))
def test_book_keeps_digits_and_order(levels):
    """All levels come in order with their own digits, as numbers or strings."""
    book = OrderBook("A-B", tuple(levels), tuple(levels[::-1]), AT)
    as_strings = json.loads(render_book(book, 500, numbers="string", **ORIGIN))
    assert as_strings["bids"] == [list(level) for level in levels]
    assert as_strings["asks"] == [list(level) for level in levels[::-1]]
    as_numbers = load(render_book(book, 500, **ORIGIN))
    assert [[n.removeprefix("int ") for n in row] for row in as_numbers["bids"]] == as_strings["bids"]


def test_book_is_cut_to_its_depth():
    """At most `depth` levels a side are given, the best ones."""
    book = OrderBook("A-B", (("2", "1"), ("1", "1")), (("3", "1"),), AT)
    answer = json.loads(render_book(book, 1, **ORIGIN))
    assert answer == {"pair": "A-B", "bids": [[2, 1]], "asks": [[3, 1]], **PROVENANCE}


def test_candles_have_the_contract_s_fields():
    """Open times are Unix ms and numbers, even when prices are strings."""
    row = (AT, "1.0", "2.0", "0.50", "1.50", "0")
    answer = load(render_some_candles(row, numbers="string"))
    assert answer == {
        "pair": "BTC-USDC",
        "timeframe": "1m",
        "candles": [[f"int {AT}", *row[1:]]],
        "open_candle": True,
        "complete": False,
        "next": "abc",
        **PROVENANCE,
    }
    assert load(render_some_candles(row))["candles"] == [[f"int {AT}", *row[1:5], "int 0"]]


@pytest.mark.parametrize("numbers", ["number", "string"])
def test_nothing_is_an_empty_list(numbers):
    """No candles, levels or trades make an empty array."""
    assert json.loads(render_some_candles(numbers=numbers))["candles"] == []
    trades = render_trades(Trades("A-B", (), AT), 5, next_cursor=None, numbers=numbers, **ORIGIN)
    assert json.loads(trades) == {"pair": "A-B", "trades": [], "next": None, **PROVENANCE}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), DIGITS, st.integers(0, 2 * AT))
def test_trades_keep_ids_and_digits(trade_id, digits, at):
    """Any id stays the string it is, times are RFC 3339, prices keep their digits."""
    trades = Trades("A-B", (Trade(trade_id, digits, digits, "sell", at),), AT)
    (row,) = load(render_trades(trades, 5, next_cursor=None, numbers="string", **ORIGIN))["trades"]
    assert list(row) == ["id", "price", "amount", "side", "at"]
    assert (row["id"], row["price"], row["amount"], row["side"]) == (trade_id, digits, digits, "sell")
    assert row["at"] == render_at(at)


def render_at(ms):
    """Return what a ticker received at *ms* says of it."""
    return json.loads(render_ticker(ticker(received_at=ms), **ORIGIN))["received_at"]


def test_trades_of_one_minute_have_their_own_seconds():
    """Neighbouring trades share work, not times; the limit cuts the oldest."""
    moments = (AT, AT - 1, AT - 1123, AT - 60_000)
    trades = Trades("A-B", tuple(Trade("1", "1", "1", "buy", at) for at in moments), AT)
    answer = json.loads(render_trades(trades, 3, next_cursor=None, **ORIGIN))
    assert [row["at"] for row in answer["trades"]] == [render_at(at) for at in moments[:3]]


def test_catalogue_lists_pairs_by_name():
    """Pairs come sorted, with the exchange's rules, null where it says nothing."""
    markets = {
        "B-X": Market("B-X", "B", "X", "online"),
        "A-X": Market("A-X", "A", "X", "online", price_increment="0.010", min_notional="5"),
    }
    catalogue = Catalogue(markets, {}, ("1m",), 720, AT)
    answer = load(render_catalogue(catalogue, ["1m", "5m"], **ORIGIN))
    assert [pair["pair"] for pair in answer["pairs"]] == ["A-X", "B-X"]
    assert answer["pairs"][0] == {
        "pair": "A-X",
        "base": "A",
        "quote": "X",
        "status": "online",
        "price_increment": "0.010",
        "amount_increment": None,
        "min_amount": None,
        "min_notional": "int 5",
    }
    assert (answer["timeframes"], answer["max_history"]) == (["1m", "5m"], "int 720")
    assert answer.items() >= PROVENANCE.items()


def test_token_takes_its_times_from_the_catalogue():
    """A token has no times of its own: those of the catalogue that it is from stand for it."""
    answer = json.loads(render_token(Token("BTC", "Bitcoin", 8), Catalogue({}, {}, (), None, AT), **ORIGIN))
    assert answer == {"symbol": "BTC", "name": "Bitcoin", "precision": 8, "active": None, **PROVENANCE}


def test_batch_embeds_items_as_they_are():
    """Items of a batch keep their bytes, digits included, beside the problems of the others."""
    item = render_ticker(ticker(), **ORIGIN)
    answer = render_batch("prices", {"BTC-USDC": item}, {"X-Y": {"status": 404}})
    assert item in answer
    assert json.loads(answer) == {
        "prices": {"BTC-USDC": json.loads(item)},
        "errors": {"X-Y": {"status": 404}},
    }


@pytest.mark.parametrize(
    ("digits", "text"),
    [("007", "7"), ("-00.50", "-0.50"), ("000", "0"), ("0.10", "0.10"), ("1\n", "1"), ("-0", "-0")],
)
def test_leading_zeros_that_json_forbids_go(digits, text):
    """What `Digits` allows and JSON does not is brought into JSON's form, the value unchanged."""
    assert number_text(digits) == text
    assert Decimal(text) == Decimal(digits.strip())
    assert json.loads(bytes(rows([(digits, "2")], 2, "string"))) == [[text, "2"]]


@pytest.mark.parametrize(
    "digits",
    ["", "1e5", "NaN", "Infinity", "+1", ".5", "5.", "1,5", "1],[2", "[1]", '1"', " 1", "٣", "0x1", "--1"],
)
@pytest.mark.parametrize("numbers", ["number", "string"])
def test_what_is_no_number_is_refused(digits, numbers):
    """Text that is no decimal number never reaches a client: the exchange's answer was invalid."""
    with pytest.raises(OriginInvalid):
        number_text(digits)
    for values in ((digits, "1"), ("1", digits)):
        with pytest.raises(OriginInvalid):
            rows([("1", "2"), values], 2, numbers)
    with pytest.raises(OriginInvalid):
        render_ticker(ticker(price=digits), numbers=numbers, **ORIGIN)
    trades = Trades("A-B", (Trade("1", digits, "1", "buy", AT),), AT)
    with pytest.raises(OriginInvalid):
        render_trades(trades, 5, next_cursor=None, numbers=numbers, **ORIGIN)


@given(st.lists(st.tuples(st.text("0123456789.-,[]e", max_size=6), st.text("0123456789.,[]", max_size=6))))
def test_rows_hold_only_numbers(items):
    """Whatever text stands for numbers, what comes out has the given shape and values, or nothing does."""
    try:
        data = bytes(rows(items, 2, "number"))
    except OriginInvalid:
        return
    parsed = load(data)
    assert [len(row) for row in parsed] == [2] * len(items)
    for row, item in zip(parsed, items, strict=True):
        assert [Decimal(n.removeprefix("int ")) for n in row] == [Decimal(text) for text in item]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_derived_values_are_finite_or_null(value):
    """A derived value that JSON has no number for is null."""
    assert finite(value) is None
    assert json.loads(render_ticker(ticker(change_24h_percent=value), **ORIGIN))["change_24h_percent"] is None


def test_absurd_times_do_not_break_an_answer():
    """Times that no calendar has become the nearest that it has."""
    assert render_at(10**18) == "9999-12-31T23:59:59.999Z"
    trades = Trades("A-B", (Trade("1", "1", "1", "buy", -(10**18)),), AT)
    answer = json.loads(render_trades(trades, 5, next_cursor=None, **ORIGIN))
    assert answer["trades"][0]["at"] == "1970-01-01T00:00:00.000Z"


def test_half_a_surrogate_in_a_name_is_the_origin_s_fault():
    """Text that UTF-8 cannot hold is an invalid answer of the exchange, not a bug of ours."""
    with pytest.raises(OriginInvalid):
        render_token(Token("X", "\ud800"), Catalogue({}, {}, (), None, AT), **ORIGIN)
    trades = Trades("A-B", (Trade("\ud800", "1", "1", "buy", AT),), AT)
    json.loads(render_trades(trades, 5, next_cursor=None, **ORIGIN))
