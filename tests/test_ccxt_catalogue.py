"""The catalogue: what is listed, and how it spares other processes the loading of markets."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest

from shivx.errors import ConfigurationError, OriginInvalid
from shivx.models import Catalogue, Market, Token
from shivx.providers.ccxt_client import load_class, make_client, make_client_class
from shivx.providers.ccxt_exchange import CcxtExchange
from shivx.providers.ccxt_profiles import PROFILES
from tests.ccxt_stage import EXCHANGES, NOW_MS, QUESTIONS, Stage
from tests.exchange_market import INSTRUMENTS
from tests.exchange_wire import Number


@pytest.fixture(params=EXCHANGES)
def stage(request):
    """Each exchange in turn."""
    with Stage(request.param) as stage:
        yield stage


def test_all_spot_pairs_are_listed_under_unified_codes(stage):
    """Kraken's XXBTZUSD is BTC-USD; an inactive market is listed as such; rules keep their digits."""
    catalogue = stage.catalogue
    assert list(catalogue.markets) == sorted(f"{item.base}-{item.quote}" for item in INSTRUMENTS)
    assert {pair for pair, market in catalogue.markets.items() if market.status == "inactive"} == {"OLD-USD"}
    assert {market.status for market in catalogue.markets.values()} == {"active", "inactive"}
    pepe = catalogue.markets["PEPE-USD"]
    assert (pepe.base, pepe.quote, pepe.price_increment) == ("PEPE", "USD", "0.0000000001")
    assert set(catalogue.tokens) == {code for item in INSTRUMENTS for code in (item.base, item.quote)}
    assert catalogue.received_at == NOW_MS
    for market in catalogue.markets.values():
        msgspec.convert(msgspec.to_builtins(market), Market)
    for token in catalogue.tokens.values():
        msgspec.convert(msgspec.to_builtins(token), Token)


@pytest.mark.parametrize(
    ("exchange", "timeframes", "max_history"),
    [
        ("kraken", ("1m", "5m", "15m", "1h", "4h", "1d"), 720),
        ("coinbaseexchange", ("1m", "5m", "15m", "1h", "1d"), None),
        ("binance", ("1m", "5m", "15m", "1h", "4h", "1d"), None),
    ],
)
def test_the_limits_of_candles_are_told(exchange, timeframes, max_history):
    """Only native timeframes are listed, and how far back they reach where the exchange says so."""
    with Stage(exchange) as stage:
        assert (stage.catalogue.timeframes, stage.catalogue.max_history) == (timeframes, max_history)


def test_what_the_exchange_says_of_tokens_is_told():
    """Precision in decimal places from either way of giving it; names and states where there are any."""
    expected = {
        "kraken": Token("BTC", "XBT", 10, True),
        "coinbaseexchange": Token("BTC", "BTC coin", 8, True),
        "binance": Token("BTC", None, 8, None),
    }
    for exchange, token in expected.items():
        with Stage(exchange) as stage:
            assert stage.catalogue.tokens["BTC"] == token


def test_another_process_needs_no_markets(stage):
    """With the catalogue's bytes a fresh provider answers every question and never asks for markets."""
    sent = msgspec.msgpack.encode(stage.catalogue)
    received = msgspec.msgpack.decode(sent, type=Catalogue)
    fresh = CcxtExchange(
        stage.exchange, base_url=stage.server.url, pacer=stage.pacer, now=lambda: NOW_MS / 1000
    )
    before = stage.server.counts()
    for question in QUESTIONS.keys() - {"catalogue"}:
        assert QUESTIONS[question](fresh, received) == stage.ask(question)
    after = stage.server.counts()
    fresh.close()
    markets = ("AssetPairs", "Assets", "products", "currencies", "exchangeInfo")
    assert [path for path in after if path.endswith(markets) and after[path] != before.get(path, 0)] == []


def test_restored_markets_are_kept_while_the_catalogue_is_the_same(stage):
    """Equal bytes, though another object, cost no second restoring; other bytes do."""
    stage.ask("ticker")
    kept = stage.provider._adopted
    again = msgspec.structs.replace(stage.catalogue, native=bytes(bytearray(stage.catalogue.native)))
    stage.provider.ticker(again, "BTC-USD")
    assert stage.provider._adopted is kept
    raw = msgspec.msgpack.decode(stage.catalogue.native)
    del raw["markets"]["BTC-USD"]
    stage.provider.ticker(msgspec.structs.replace(again, native=msgspec.msgpack.encode(raw)), "SOL-USDC")
    assert stage.provider._adopted is not kept


def _damaged():
    market = {"id": "XBTUSD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD"}
    for name, value in (
        ("id", "../../private"),
        ("id", "a b"),
        ("id", "x" * 65),
        ("symbol", 5),
        ("base", None),
    ):
        yield msgspec.msgpack.encode({"version": 1, "markets": {"BTC-USD": {**market, name: value}}})
    yield msgspec.msgpack.encode({"version": 2, "markets": {"BTC-USD": market}})
    yield msgspec.msgpack.encode({"version": 1, "markets": {}})
    yield msgspec.msgpack.encode({"version": 1, "markets": [1, 2]})
    yield from (b"", b"\xc1", b"junk", json.dumps({"a": 1}).encode())


def test_damaged_bytes_are_invalid_and_cost_no_call(stage):
    """Bytes from a poisoned Redis cannot lead a request to another path, nor crash anything."""
    catalogue, before = stage.catalogue, stage.server.total
    for native in _damaged():
        with pytest.raises(OriginInvalid):
            stage.provider.ticker(msgspec.structs.replace(catalogue, native=native), "BTC-USD")
    assert stage.server.total == before


def test_markets_that_cannot_be_named_or_are_no_spot_are_left_out():
    """Codes with dots are skipped, of two markets of one pair the active one counts, futures do not."""
    with Stage("coinbaseexchange") as stage:
        names = [("A-USD", "A", "online"), ("a-USD", "a", "delisted"), ("B.X-USD", "B.X", "online")]
        products = [
            {
                "id": name,
                "base_currency": base,
                "quote_currency": "USD",
                "status": status,
                "quote_increment": "0.01",
            }
            for name, base, status in [*names, ("C-USD", "C", "online")]
        ]
        currencies = [
            {"id": code, "name": code, "status": "online", "max_precision": Number("1e-8")}
            for code in ("A", "a", "B.X", "C", "USD")
        ]
        stage.server.fault("/products", "body", value=products)
        stage.server.fault("/currencies", "body", value=currencies)
        catalogue = stage.provider.catalogue()
        assert {pair: market.status for pair, market in catalogue.markets.items()} == {
            "A-USD": "active",
            "C-USD": "active",
        }
        assert catalogue.tokens["A"].precision == 8


@pytest.mark.parametrize(
    "wrong", ["no_such_exchange", "Kraken", "base", "abstract", "os", "../kraken", "", "pro"]
)
def test_an_exchange_that_ccxt_does_not_know_is_a_wrong_setting(wrong):
    """The error names the variable."""
    with pytest.raises(ConfigurationError, match="SHIVX_MARKET_SOURCE"):
        CcxtExchange(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "kraken.com",
        "ftp://kraken.com",
        "http://",
        "http://user:pw@host",
        "http://h?x=1",
        "http://h:99999",
    ],
)
def test_a_wrong_base_address_is_a_wrong_setting(wrong):
    """The error names the variable, and does not repeat a password."""
    with pytest.raises(ConfigurationError, match="SHIVX_MARKET_SOURCE_URL") as caught:
        CcxtExchange("kraken", base_url=wrong)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("exchange", "public"),
    [
        ("kraken", "http://proxy/k"),
        ("coinbaseexchange", "http://proxy/k"),
        ("binance", "http://proxy/k/api/v3"),
        ("okx", None),
        ("bitstamp", None),
    ],
)
def test_the_base_address_replaces_every_host(exchange, public):
    """With a base address set, ccxt has no other host left that it could ask."""
    client = make_client(make_client_class(load_class(exchange), PROFILES["kraken"]), "http://proxy/k/", {})
    urls = list(_texts(client.urls["api"]))
    assert urls
    assert all(url.startswith("http://proxy/k") for url in urls)
    if public is not None:
        assert client.urls["api"]["public"] == public


def _texts(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def test_only_public_addresses_are_asked(stage):
    """No question touches a private or signed path, on Binance neither sapi nor other hosts."""
    for question in QUESTIONS:
        stage.ask(question)
    prefix = {"kraken": "/0/public/", "coinbaseexchange": "/", "binance": "/api/v3/"}[stage.exchange]
    assert all(path.startswith(prefix) for path in stage.server.counts())
    assert not any("sapi" in path or "private" in path for path in stage.server.counts())


def test_each_call_is_metered_by_its_weight(stage):
    """Every request reserves a slot first, at ccxt's rate, with ccxt's weight."""
    for question in QUESTIONS:
        stage.ask(question)
    interval = {"kraken": 1.0, "coinbaseexchange": 0.1, "binance": 0.05}[stage.exchange]
    assert len(stage.pacer.reserved) == stage.server.total
    assert {(source, step) for source, _, step, _ in stage.pacer.reserved} == {(stage.exchange, interval)}
    assert all(0 < left <= 5.0 and cost > 0 for _, left, _, cost in stage.pacer.reserved)


def test_one_exchange_is_loaded_and_no_other():
    """A provider costs one exchange's module, not the whole of ccxt; ccxt stays importable."""
    program = """
import sys
import shivx.providers.ccxt_exchange as module
assert not any(name.startswith("ccxt") for name in sys.modules), "imported before it was needed"
module.CcxtExchange("kraken"); module.CcxtExchange("binance")
print(sorted(name for name in sys.modules if name.startswith("ccxt.") and name.count(".") == 1))
import ccxt
assert ccxt.kraken is sys.modules["ccxt.kraken"].kraken and len(ccxt.exchanges) > 50
module.CcxtExchange("coinbaseexchange")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['ccxt.abstract', 'ccxt.base', 'ccxt.binance', 'ccxt.kraken']"


def test_proxies_of_the_environment_are_not_used(stage, monkeypatch):
    """HTTP_PROXY and its like do not lead our questions elsewhere."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert stage.ask("ticker").price
