"""The numbers of the simulated exchange: digits on the pair's grid, and arithmetic that no CPU changes."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy._core import _multiarray_umath as numpy_core

from shivx.models import TIMEFRAMES, Catalogue
from shivx.providers import simulated
from shivx.providers.simulated.chance import hash_bits, normal, stream_key, uniform
from shivx.providers.simulated.numerals import digits, exponential
from tests.simulated import BUSY, PAIRS, TINY, SimulatedMarket, digest

FIXED_NOTATION = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)


def is_on_grid(text: str, increment: str) -> bool:
    """Tell whether *text* is fixed notation with the decimals of *increment*, a multiple of it, above 0."""
    value, step = Decimal(text), Decimal(increment)
    same_decimals = value.as_tuple().exponent == step.as_tuple().exponent
    return bool(FIXED_NOTATION.fullmatch(text)) and same_decimals and value > 0 and value % step == 0


def test_every_number_of_every_pair_is_on_its_grid():
    """Prices are multiples of the tick, amounts of the amount's increment, in fixed notation, above zero."""
    market = SimulatedMarket()
    for pair, rules in market.catalogue.markets.items():
        ticker, book, trades = market.ticker(pair), market.book(pair, 30), market.trades(pair, 30)
        candles = market.last_candles(pair, "1m", 30) + market.last_candles(pair, "1d", 3)
        levels = book.bids + book.asks + tuple((trade.price, trade.amount) for trade in trades.trades)
        prices = [ticker.price, ticker.bid, ticker.ask, ticker.high_24h, ticker.low_24h]
        prices += [price for price, _ in levels] + [price for candle in candles for price in candle[1:5]]
        amounts = [ticker.volume_24h] + [amount for _, amount in levels] + [candle[5] for candle in candles]
        assert all(is_on_grid(price, rules.price_increment) for price in prices), pair
        assert all(is_on_grid(amount, rules.amount_increment) for amount in amounts), pair
        assert FIXED_NOTATION.fullmatch(ticker.quote_volume_24h), pair


def test_answers_satisfy_their_models():
    """Every answer passes the validation of its own type, digits included."""
    market = SimulatedMarket()
    answers = [market.catalogue, market.ticker(TINY), market.book(TINY), market.trades(TINY)]
    answers.append(market.candles(TINY, "1m", market.now_ms - 60_000, market.now_ms))
    for answer in answers:
        assert msgspec.convert(msgspec.to_builtins(answer), type(answer)) == answer


def test_catalogue_lists_what_clients_need():
    """Over a hundred pairs, twenty of them in USDC, each of known tokens; all timeframes; a tiny tick."""
    catalogue: Catalogue = SimulatedMarket().catalogue
    assert len(catalogue.markets) > 100
    assert {"BTC-USDC", "ETH-USDC", "SOL-USDC"} <= catalogue.markets.keys()
    assert sum(market.quote == "USDC" for market in catalogue.markets.values()) >= 20
    assert all({m.base, m.quote} <= catalogue.tokens.keys() for m in catalogue.markets.values())
    assert all(pair == f"{m.base}-{m.quote}" == m.pair for pair, m in catalogue.markets.items())
    assert catalogue.timeframes == tuple(TIMEFRAMES)
    assert catalogue.markets[TINY].price_increment == "0.00000001"


def test_cross_rates_agree():
    """ETH in BTC costs what ETH in dollars over BTC in dollars says, but for the minute's own noise."""
    market = SimulatedMarket()
    bitcoin, ether, cross = (float(market.ticker(p).price) for p in ("BTC-USDC", "ETH-USDC", "ETH-BTC"))
    assert cross == pytest.approx(ether / bitcoin, rel=0.01)


@given(units=st.integers(0, 10**20), decimals=st.integers(0, 18))
def test_digits_are_exact(units, decimals):
    """Text of integer units has the value and just the decimals it should, never an exponent."""
    text = digits(units, decimals)
    assert FIXED_NOTATION.fullmatch(text)
    assert Decimal(text) == Decimal(units).scaleb(-decimals)
    assert len(text.partition(".")[2]) == decimals


@given(x=st.floats(-50.0, 50.0))
def test_exponential_is_right_to_the_fifteenth_digit(x):
    """The exponential made of + - * agrees with the mathematical library."""
    assert exponential(np.array([x]))[0] == pytest.approx(math.exp(x), rel=1e-15 * (1 + abs(x)))


def test_draws_have_the_moments_they_should():
    """A million hashes are uniform; made normal, they have mean 0, variance 1, no skew and kurtosis 3."""
    bits = hash_bits(stream_key(1, "test"), np.arange(1_000_000, dtype=np.uint64))
    flat, bell = uniform(bits), normal(bits)
    assert 0.0 <= flat.min() < flat.max() < 1.0
    assert (flat.mean(), flat.var()) == pytest.approx((1 / 2, 1 / 12), abs=2e-3)
    assert (bell.mean(), bell.var()) == pytest.approx((0, 1), abs=1e-2)
    assert ((bell**3).mean(), (bell**4).mean()) == pytest.approx((0, 3), abs=5e-2)
    assert abs(np.corrcoef(bell[1:], bell[:-1])[0, 1]) < 5e-3


def test_neighbouring_keys_draw_independently():
    """Streams that differ by one letter or level have nothing in common."""
    counters = np.arange(100_000, dtype=np.uint64)
    names = [("BTC", 3), ("BTC", 4), ("BTD", 3)]
    draws = [normal(hash_bits(stream_key(1, *name), counters)) for name in names]
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.02


def test_floats_come_from_exact_operations_alone():
    """Of numpy's functions only those are used whose results IEEE 754 fixes, or that move data."""
    exact = {"sqrt", "floor", "ldexp", "maximum", "minimum", "bitwise_count"}
    moving = {
        "arange",
        "array",
        "concatenate",
        "empty",
        "flatnonzero",
        "full",
        "full_like",
        "iinfo",
        "newaxis",
    }
    moving |= {"repeat", "searchsorted", "stack", "where", "zeros", "zeros_like"}
    types = {"bool_", "float64", "int32", "int64", "uint64"}
    used = set()
    for module in Path(simulated.__file__).parent.glob("*.py"):
        used |= set(re.findall(r"\bnp\.(\w+)", module.read_text()))
        assert set(re.findall(r"\bmath\.(\w+)", module.read_text())) <= {"sqrt", "factorial"}
    assert used <= exact | moving | types


@pytest.mark.parametrize("simd", [True, False], ids=["with SIMD", "without SIMD"])
def test_every_process_computes_the_same_market(simd):
    """A fresh process answers with the same bytes, whichever instructions numpy may use."""
    environment = dict(os.environ, PYTHONHASHSEED="12345")
    if not simd:
        extensions = [name for name in numpy_core.__cpu_dispatch__ if numpy_core.__cpu_features__[name]]
        environment["NPY_DISABLE_CPU_FEATURES"] = " ".join(extensions)
    command = [sys.executable, "-W", "error", "-m", "tests.simulated"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == digest()


def test_what_was_asked_before_changes_nothing():
    """An instance that has answered much says the same as a fresh one."""
    experienced = SimulatedMarket()
    for hours in range(200):
        experienced.now_ms -= 3_600_000
        experienced.ticker(PAIRS[hours % len(PAIRS)])
    fresh = SimulatedMarket(experienced.now_ms)
    for pair in PAIRS:
        assert experienced.ticker(pair) == fresh.ticker(pair)
        assert experienced.last_candles(pair, "1h", 50) == fresh.last_candles(pair, "1h", 50)


def test_threads_see_one_market():
    """Threads that ask a fresh instance the same questions at once all get the right answers."""
    market = SimulatedMarket()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(market.ticker, PAIRS * 8))
    assert answers == [SimulatedMarket().ticker(pair) for pair in PAIRS] * 8


def test_seeds_make_different_markets():
    """Another seed is another price."""
    assert SimulatedMarket(seed=1).ticker(BUSY).price != SimulatedMarket(seed=2).ticker(BUSY).price
