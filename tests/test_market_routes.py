"""The seven market routes answer in the shape that the contract fixes, with the exchange's own digits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest

from cache_ext.testing.clock import NOON, FakeClock
from shivx import names
from shivx.errors import OriginInvalid
from tests.caches import connected
from tests.market_stage import ScriptedExchange, Site, down, open_site, settings_for

NOW = int(NOON * 1000)
RECEIVED = "2023-11-14T22:13:20.000Z"
PROVENANCE = {"source", "as_of", "received_at", "stale"}
TICKER = {
    "pair",
    "price",
    "bid",
    "ask",
    "high_24h",
    "low_24h",
    "volume_24h",
    "quote_volume_24h",
    "change_24h_percent",
}
MARKET = {
    "pair",
    "base",
    "quote",
    "status",
    "price_increment",
    "amount_increment",
    "min_amount",
    "min_notional",
}
PROBLEM = {"type", "title", "status", "detail", "code", "errors"}
# Path of each route -> the fields of its answer beside those of provenance.
ROUTES = {
    "/api/market/pairs": {"pairs", "timeframes", "max_history"},
    "/api/market/price/BTC-USDC": TICKER,
    "/api/market/orderbook/BTC-USDC": {"pair", "bids", "asks"},
    "/api/market/ohlcv/BTC-USDC": {"pair", "timeframe", "candles", "open_candle", "complete", "next"},
    "/api/market/trades/BTC-USDC": {"pair", "trades", "next"},
    "/api/market/tokens/BTC": {"symbol", "name", "precision", "active"},
}
# What a number with the exchange's digits looks like; a float's text would not keep them.
FIXED = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


class Digits(str):
    """The text of a JSON number that is no plain integer."""


def exact(response: Any) -> Any:
    """Return the JSON of *response* with numbers as the text that they are."""
    return json.loads(response.data, parse_float=Digits, parse_int=Digits)


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application on two exchanges, the first being the default."""
    exchanges = [ScriptedExchange(clock), ScriptedExchange(clock, source="other", timeframes=["1h"])]
    with open_site(settings_for(), *exchanges, clock=clock) as opened:
        yield opened


@pytest.mark.parametrize("path", ROUTES)
def test_an_answer_has_the_fields_of_the_contract(site: Site, path: str) -> None:
    """Each route answers 200 with just the fields that are fixed for it, and where they come from."""
    answer = site.get(path)
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.json.keys() == ROUTES[path] | PROVENANCE
    assert answer.json["source"] == "scripted"
    assert answer.json["received_at"] == RECEIVED
    assert answer.json["as_of"] is None
    assert answer.json["stale"] is False


@pytest.mark.parametrize("path", [*ROUTES, "/api/market/prices?pairs=BTC-USDC"])
def test_the_exchanges_own_time_is_told(site: Site, path: str) -> None:
    """`as_of` is the time that the exchange gave, in RFC 3339, UTC."""
    site.exchange.as_of = NOW - 1_234
    body = site.get(path).json
    fact = body["prices"]["BTC-USDC"] if "prices" in body else body
    assert fact["as_of"] == "2023-11-14T22:13:18.766Z"


def test_pairs_come_sorted_with_their_rules(site: Site) -> None:
    """All pairs are there, by name; what the exchange does not say is null."""
    body = exact(site.get("/api/market/pairs"))
    assert [market["pair"] for market in body["pairs"]] == ["BTC-USDC", "ETH-USDC", "SOL-USDC", "Ä-USDC"]
    assert all(market.keys() == MARKET for market in body["pairs"])
    assert body["pairs"][0] == {
        "pair": "BTC-USDC",
        "base": "BTC",
        "quote": "USDC",
        "status": "active",
        "price_increment": "0.010",
        "amount_increment": "0.0000000100",
        "min_amount": "0.1",
        "min_notional": "5.00",
    }
    assert {body["pairs"][2][name] for name in MARKET if "min" in name or "increment" in name} == {None}
    assert body["timeframes"] == ["1m", "5m", "15m", "1h", "4h", "1d"]
    assert body["max_history"] is None


def test_history_and_timeframes_are_those_of_the_source(clock: FakeClock) -> None:
    """`max_history` is told, and so is every timeframe that can be made of what there is."""
    exchange = ScriptedExchange(clock, timeframes=["15m"], max_history=720)
    with open_site(settings_for(), exchange, clock=clock) as site:
        body = site.get("/api/market/pairs").json
    assert body["timeframes"] == ["15m", "1h", "4h", "1d"]
    assert body["max_history"] == 720


def test_a_price_keeps_every_digit(site: Site) -> None:
    """Prices are JSON numbers with the digits of the exchange; what is derived is a double."""
    text = site.get("/api/market/price/BTC-USDC").text
    body = exact(site.get("/api/market/price/BTC-USDC"))
    assert body["price"] == "2.1000000000000000000000000500"
    assert body["bid"] == "0.000000010"
    assert body["ask"] == "12345678901234567890.10"
    assert type(body["price"]) is Digits
    assert body["change_24h_percent"] == "-0.1"
    assert body["high_24h"] is None
    assert '"price":2.1000000000000000000000000500,' in text


def test_a_book_is_best_first_and_as_deep_as_asked(site: Site) -> None:
    """Levels are [price, amount], bids falling, asks rising, 20 a side if not said otherwise."""
    body = exact(site.get("/api/market/orderbook/BTC-USDC"))
    assert len(body["bids"]) == len(body["asks"]) == 20
    assert body["bids"][:2] == [["1000.10", "0.000050"], ["999.10", "0.000150"]]
    assert body["asks"][0] == ["1001.20", "1.000000"]
    assert [Decimal(level[0]) for level in body["bids"]] == sorted(
        (Decimal(level[0]) for level in body["bids"]), reverse=True
    )


@pytest.mark.parametrize(("depth", "levels"), [(1, 1), (100, 100), (101, 101), (500, 300)])
def test_depth_is_exact_or_all_there_is(site: Site, depth: int, levels: int) -> None:
    """A book has *depth* levels a side, or all that the exchange has."""
    body = site.get(f"/api/market/orderbook/BTC-USDC?depth={depth}").json
    assert len(body["bids"]) == len(body["asks"]) == levels


def test_depths_share_two_stored_books(site: Site) -> None:
    """However many depths are asked for, the exchange is asked for two."""
    for depth in range(1, 501, 7):
        site.get(f"/api/market/orderbook/BTC-USDC?depth={depth}")
    assert site.exchange.count("order_book") == 2


def test_candles_are_rows_of_six_numbers(site: Site) -> None:
    """A candle is [open time in ms, open, high, low, close, volume], oldest first."""
    body = exact(site.get("/api/market/ohlcv/BTC-USDC?limit=50"))
    assert body["timeframe"] == "1h"
    times = [int(candle[0]) for candle in body["candles"]]
    assert times == sorted(times)
    assert all(moment % 3_600_000 == 0 for moment in times)
    assert all(len(candle) == 6 and all(map(FIXED.fullmatch, candle)) for candle in body["candles"])


def test_trades_are_newest_first_with_ids_as_text(site: Site) -> None:
    """A trade has a textual id, price, amount, the taker's side, and its time."""
    body = exact(site.get("/api/market/trades/BTC-USDC?limit=2"))
    assert body["trades"] == [
        {
            "id": "699",
            "price": "699.50",
            "amount": "0.10",
            "side": "buy",
            "at": "2023-11-14T21:59:23.100Z",
        },
        {
            "id": "698",
            "price": "698.50",
            "amount": "0.10",
            "side": "sell",
            "at": "2023-11-14T21:59:22.400Z",
        },
    ]
    assert type(body["trades"][0]["id"]) is str
    assert isinstance(body["next"], str)


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("btc", {"symbol": "BTC", "name": "Bitcoin", "precision": 8, "active": True}),
        ("USDC", {"symbol": "USDC", "name": None, "precision": None, "active": None}),
        (quote("ä"), {"symbol": "Ä", "name": None, "precision": 0, "active": False}),
    ],
)
def test_a_token_is_told_by_its_symbol(site: Site, symbol: str, expected: dict[str, object]) -> None:
    """Symbols are read without regard to case; unknown details are null."""
    body = site.get(f"/api/market/tokens/{symbol}").json
    assert {name: body[name] for name in expected} == expected


@pytest.mark.parametrize("written", ["btc-usdc", "Btc-uSDC", "BTC-USDC"])
@pytest.mark.parametrize("route", ["price", "orderbook", "ohlcv", "trades"])
def test_pairs_are_read_without_regard_to_case(site: Site, route: str, written: str) -> None:
    """However a pair is written, the answer names it in upper case, and it is one thing in the cache."""
    site.get(f"/api/market/{route}/BTC-USDC")
    asked = len(site.exchange.asked)
    answer = site.get(f"/api/market/{route}/{written}")
    assert answer.json["pair"] == "BTC-USDC"
    assert len(site.exchange.asked) == asked


@pytest.mark.parametrize("written", ["Ä-usdc", "ä-USDC", "A\u0308-USDC", "a\u0308-usdc"])
def test_unicode_pairs_are_composed(site: Site, written: str) -> None:
    """A letter and its accent are one letter, as NFC has it, in path and list alike."""
    answer = site.get(f"/api/market/price/{quote(written)}")
    assert answer.json["pair"] == "Ä-USDC"
    batch = site.get(f"/api/market/prices?pairs={quote(written)}")
    assert list(batch.json["prices"]) == ["Ä-USDC"]
    assert site.exchange.count("ticker") + site.exchange.count("tickers") == 1


def _numbers(value: Any) -> Iterator[Digits]:
    if isinstance(value, Digits):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)


def _texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield str(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts_of(item)


@pytest.mark.parametrize("path", [*list(ROUTES)[:-1], "/api/market/prices?pairs=BTC-USDC,ETH-USDC"])
def test_numbers_as_strings_have_the_same_digits(site: Site, path: str) -> None:
    """``numbers=string`` changes the quotes around prices and amounts, and nothing else."""
    separator = "&" if "?" in path else "?"
    plain = exact(site.get(path))
    quoted = exact(site.get(f"{path}{separator}numbers=string"))
    explicit = exact(site.get(f"{path}{separator}numbers=number"))
    assert explicit == plain
    assert quoted == plain, "the digits are the same"
    assert sorted(_texts_of(quoted)) == sorted(_texts_of(plain))
    left = {str(number) for number in _numbers(quoted)}
    assert left <= {"-0.1"} or all(number.isdigit() and int(number) > 10**11 for number in left)


@pytest.mark.parametrize("path", [*ROUTES, "/api/market/prices?pairs=BTC-USDC"])
def test_the_source_can_be_chosen(site: Site, path: str) -> None:
    """``source`` picks among those configured; each has its own facts, and answers name it."""
    separator = "&" if "?" in path else "?"
    default = site.get(path)
    first = site.get(f"{path}{separator}source=scripted")
    second = site.get(f"{path}{separator}source=other")
    assert first.json == default.json
    body = second.json["prices"]["BTC-USDC"] if "prices" in second.json else second.json
    assert body["source"] == "other"
    assert second.headers["X-Cache"] == "MISS"
    assert site.exchanges[1].asked


BATCH = "/api/market/prices?pairs="


def test_a_batch_has_an_item_for_each_pair(site: Site) -> None:
    """Prices are keyed by pair, each with all the fields of a single price, provenance included."""
    body = exact(site.get(f"{BATCH}ETH-USDC,BTC-USDC"))
    assert body.keys() == {"prices", "errors"}
    assert body["errors"] == {}
    assert list(body["prices"]) == ["ETH-USDC", "BTC-USDC"]
    for pair, item in body["prices"].items():
        assert item.keys() == TICKER | PROVENANCE
        assert item["pair"] == pair
        assert item["source"] == "scripted"
        assert item["stale"] is False
        assert item["price"] == "2.1000000000000000000000000500"


def test_a_batch_and_a_single_price_are_one_fact(site: Site) -> None:
    """What a batch loaded, a single request finds, and the other way round."""
    single = site.get("/api/market/price/BTC-USDC").json
    batch = site.get(f"{BATCH}BTC-USDC,ETH-USDC")
    assert batch.json["prices"]["BTC-USDC"] == single
    assert site.exchange.asked[-1] == ("tickers", "ETH-USDC")
    assert batch.headers["X-Cache"] == "MISS"
    assert site.get("/api/market/price/ETH-USDC").headers["X-Cache"] == "HIT"
    assert site.get(f"{BATCH}BTC-USDC,ETH-USDC").headers["X-Cache"] == "HIT"


def test_a_pair_named_twice_comes_once(site: Site) -> None:
    """Repetitions, in whatever case, are one item."""
    body = site.get(f"{BATCH}btc-usdc,BTC-USDC,ETH-USDC,Btc-Usdc").json
    assert list(body["prices"]) == ["BTC-USDC", "ETH-USDC"]
    assert site.exchange.asked[-1] == ("tickers", "BTC-USDC", "ETH-USDC")


def test_a_batch_that_succeeds_in_part_is_200(site: Site) -> None:
    """Items that fail are problem documents under ``errors``; the rest is served."""
    site.exchange.failing = {"ETH-USDC": down(), "SOL-USDC": OriginInvalid("nonsense")}
    answer = site.get(f"{BATCH}BTC-USDC,ETH-USDC,SOL-USDC,NO-PAIR")
    assert answer.status_code == 200
    assert list(answer.json["prices"]) == ["BTC-USDC"]
    errors = answer.json["errors"]
    assert all(error.keys() == PROBLEM for error in errors.values())
    assert {pair: (error["status"], error["code"]) for pair, error in errors.items()} == {
        "ETH-USDC": (503, "origin_unavailable"),
        "SOL-USDC": (502, "origin_invalid"),
        "NO-PAIR": (404, "unknown_pair"),
    }
    assert errors["NO-PAIR"]["errors"][0]["parameter"] == "pairs"
    assert answer.headers["X-Cache"] == "MISS"


def test_a_batch_with_a_failed_item_is_not_kept_by_other_caches(site: Site) -> None:
    """A failure of the exchange lasts a moment; nobody may be given it again out of a cache."""
    site.exchange.failing = {"ETH-USDC": down()}
    answer = site.get(f"{BATCH}BTC-USDC,ETH-USDC")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
    site.exchange.failing = {}
    healed = site.get(f"{BATCH}BTC-USDC,ETH-USDC")
    assert list(healed.json["prices"]) == ["BTC-USDC", "ETH-USDC"]
    assert "public" in healed.headers["Cache-Control"]


def test_a_batch_with_an_unknown_pair_may_be_kept(site: Site) -> None:
    """That a pair is not listed is a fact like others."""
    assert "max-age=5" in site.get(f"{BATCH}BTC-USDC,NO-PAIR").headers["Cache-Control"]


@pytest.mark.parametrize(
    ("failing", "status"),
    [
        ({"BTC-USDC": OriginInvalid("nonsense"), "ETH-USDC": OriginInvalid("nonsense")}, 502),
        ({"BTC-USDC": OriginInvalid("nonsense"), "ETH-USDC": down(3.0)}, 503),
    ],
)
def test_a_batch_that_fails_entirely_has_the_gravest_status(
    site: Site, failing: dict[str, Exception], status: int
) -> None:
    """With no item served, the status is that of the worst; nobody keeps the answer; 503 says until when."""
    site.exchange.failing = failing
    answer = site.get(f"{BATCH}BTC-USDC,ETH-USDC,NO-PAIR")
    assert answer.status_code == status
    assert answer.json["prices"] == {}
    assert answer.json["errors"].keys() == {"BTC-USDC", "ETH-USDC", "NO-PAIR"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Cache"] == "MISS"
    assert answer.headers.get("Retry-After") == ("3" if status == 503 else None)


def test_a_batch_of_unknown_pairs_is_404(site: Site) -> None:
    """Nothing but unknown pairs is not found, and the exchange is not asked for prices."""
    answer = site.get(f"{BATCH}NO-PAIR,NOR-THIS")
    assert answer.status_code == 404
    assert answer.json["prices"] == {}
    assert site.exchange.count("tickers") == 0
    assert site.get(f"{BATCH}NO-PAIR,NOR-THIS").headers["X-Cache"] == "HIT"


def test_a_price_that_the_exchange_left_out_is_an_error_of_that_item(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exchange that forgets one pair of a batch has answered nonsense about that one only."""
    original = site.exchange.tickers
    monkeypatch.setattr(
        site.exchange,
        "tickers",
        lambda catalogue, pairs: {
            pair: found for pair, found in original(catalogue, pairs).items() if pair != "ETH-USDC"
        },
    )
    body = site.get(f"{BATCH}BTC-USDC,ETH-USDC").json
    assert list(body["prices"]) == ["BTC-USDC"]
    assert body["errors"]["ETH-USDC"]["status"] == 502


def test_a_hundred_pairs_are_one_question(clock: FakeClock) -> None:
    """The largest batch is allowed, one call to the exchange, and unknown pairs do not reach it."""
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as site:
        pairs = ["BTC-USDC", "ETH-USDC", *(f"X{number}-USDC" for number in range(98))]
        body = site.get(BATCH + ",".join(pairs)).json
    assert (len(body["prices"]), len(body["errors"])) == (2, 98)
    assert site.exchange.asked[1:] == [("tickers", "BTC-USDC", "ETH-USDC")]


def test_a_batch_that_other_processes_loaded_is_one_round_trip(
    redis_url: str, namespace: str, clock: FakeClock, trips: list[str]
) -> None:
    """All prices of a batch come from Redis in one trip, whatever their number; the limit is another.

    Before that comes a look whether the whole answer is stored; if it is, there is one for the versions of
    the tags that it turns out to have.
    """
    settings = settings_for(redis_url, cache_namespace=namespace)
    pairs = "BTC-USDC,ETH-USDC,SOL-USDC,%C3%84-USDC"
    with (
        open_site(settings, ScriptedExchange(clock)) as one,
        open_site(settings, ScriptedExchange(clock)) as other,
    ):
        assert one.get(BATCH + pairs).status_code == 200
        connected(other.services.cache)
        other.get("/api/market/pairs")  # it has the catalogue now
        trips.clear()
        answer = other.get(BATCH + pairs)
        assert answer.headers["X-Cache"] == "HIT"
        assert [trip for trip in trips if trip != "other"] == ["limit", "read", "read"]
        trips.clear()
        reordered = ",".join(reversed(pairs.split(",")))
        assert other.get(BATCH + reordered).headers["X-Cache"] == "HIT"
        assert [trip for trip in trips if trip == "read"] == ["read", "read"]
        assert other.exchange.asked == []


@pytest.mark.parametrize("path", [*ROUTES, "/api/market/prices?pairs=BTC-USDC,ETH-USDC"])
def test_another_process_answers_the_same_without_the_exchange(
    redis_url: str, namespace: str, clock: FakeClock, path: str
) -> None:
    """Through a real Redis the second process gives the very same bytes, as a hit."""
    settings = settings_for(redis_url, cache_namespace=namespace)
    with (
        open_site(settings, ScriptedExchange(clock)) as one,
        open_site(settings, ScriptedExchange(clock)) as other,
    ):
        for each in (one, other):
            each.services.candles._now = clock.time
        first, second = one.get(path), other.get(path)
        assert first.data == second.data
        assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("MISS", "HIT")
        assert first.headers["ETag"] == second.headers["ETag"]
        assert other.exchange.asked == []


def _put_in_place_of(site: Site, victim: str, intruder: str) -> None:
    """Do what somebody who can write to Redis can do."""
    place = site.services.cache.runtime.keyspace.value
    assert site.services.cache.gateway is not None
    (copied,) = site.services.cache.gateway.run([("COPY", place(intruder), place(victim), "REPLACE")])
    assert copied == 1


@pytest.mark.parametrize(
    ("victim", "intruder", "path"),
    [
        ("orderbook:{pair:scripted:BTC-USDC}:100", "price:{pair:scripted:BTC-USDC}", "orderbook/BTC-USDC"),
        ("price:{pair:scripted:BTC-USDC}", "trades:{pair:scripted:BTC-USDC}", "price/BTC-USDC"),
        ("price:{pair:scripted:BTC-USDC}", "trades:{pair:scripted:BTC-USDC}", "prices?pairs=BTC-USDC"),
    ],
)
def test_a_fact_of_another_kind_is_loaded_anew(
    redis_url: str, namespace: str, clock: FakeClock, victim: str, intruder: str, path: str
) -> None:
    """Whoever can write to Redis can put one fact in another's place: that is a miss, never a 500."""
    settings = settings_for(redis_url, cache_namespace=namespace)
    with (
        open_site(settings, ScriptedExchange(clock)) as one,
        open_site(settings, ScriptedExchange(clock)) as other,
    ):
        one.get("/api/market/price/BTC-USDC")
        one.get("/api/market/trades/BTC-USDC")
        _put_in_place_of(one, victim, intruder)
        answer = other.get(f"/api/market/{path}", headers={"Cache-Control": "no-cache"})
        assert answer.status_code == 200
        assert answer.headers["X-Cache"] == "MISS"
        assert len(other.exchange.asked) == 1


CLOSED = "/api/market/ohlcv/BTC-USDC?closed=true"
ABOUT_ETHER = "/api/market/price/ETH-USDC"
WATCHED = (*ROUTES, CLOSED, ABOUT_ETHER)


@pytest.mark.parametrize(
    ("tag", "changed"),
    [
        (
            names.pair_tag("scripted", "BTC-USDC"),
            {f"/api/market/{route}/BTC-USDC" for route in ("price", "orderbook", "ohlcv", "trades")},
        ),
        (names.book_tag("scripted", "BTC-USDC"), {"/api/market/orderbook/BTC-USDC"}),
        (
            names.candles_tag("scripted", "BTC-USDC", "1h"),
            {"/api/market/ohlcv/BTC-USDC", CLOSED},
        ),
        (names.candles_tag("scripted", "BTC-USDC", "1m"), set()),
        (names.pair_tag("other", "BTC-USDC"), set()),
    ],
)
def test_an_invalidation_hits_what_it_is_about(site: Site, tag: str, changed: set[str]) -> None:
    """A trade changes all of its pair but closed candles, an order its books, neither anything else."""
    for path in WATCHED:
        site.get(path)
    site.services.cache.invalidate_tags(tag)
    # Closed candles are asked for first: the open one is in another list than they are.
    missed = {path for path in (CLOSED, *WATCHED) if site.get(path).headers["X-Cache"] == "MISS"}
    assert missed == changed


def test_a_change_of_the_source_reloads_what_it_trades(site: Site) -> None:
    """The tag of a source is that of its pairs, tokens and timeframes."""
    site.get("/api/market/pairs")
    site.services.cache.invalidate_tags(names.source_tag("scripted"))
    assert site.get("/api/market/tokens/BTC").headers["X-Cache"] == "MISS"
    assert site.exchange.count("catalogue") == 2
