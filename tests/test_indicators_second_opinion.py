"""Where talipp has the same indicator it says the same, on simulated candles and on an exchange's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from shivx.indicators import library
from shivx.indicators.computing import compute
from shivx.indicators.prices import Prices
from shivx.indicators.specs import parse_spec
from tests.exchange_server import ExchangeServer
from tests.market_stage import Site, open_site, settings_for
from tests.second_opinion import OPINIONS, opinion
from tests.simulated import BUSY, QUIET, SimulatedMarket

AGREEMENT = 1e-9
CANDLES = 1600
NEWEST = 400
DOC = Path(__file__).parent.parent / "docs" / "indicators.md"


@pytest.fixture(scope="module", params=[BUSY, QUIET])
def prices(request: pytest.FixtureRequest) -> Prices:
    """Candles of the simulated exchange, of a busy pair and of a quiet one."""
    return Prices.of(SimulatedMarket().last_candles(request.param, "1h", CANDLES))


@pytest.mark.parametrize("name", sorted(OPINIONS))
def test_talipp_agrees_on_simulated_candles(prices: Prices, name: str) -> None:
    """After the warm-up every value is the same to 1e-9, of the largest there is."""
    found = compute(parse_spec(name), prices)
    for output, theirs in opinion(name, prices).items():
        ours = found[output][-NEWEST:]
        size = np.nanmax(np.abs(ours))
        there = ~np.isnan(ours)
        assert there.mean() > 0.9
        np.testing.assert_allclose(ours[there], theirs[-NEWEST:][there], rtol=0, atol=AGREEMENT * size)


@pytest.fixture
def exchange() -> Iterator[Site]:
    """The application on an exchange with a long history, through the real ccxt."""
    with ExchangeServer("binance") as server:
        settings = settings_for(market_source=("ccxt:binance",), market_source_url=server.url)
        with open_site(settings) as site:
            yield site


ENDLESS = {"ad", "obv", "vwap"}
"""Their values are from where the history begins, which talipp would have to be told."""


def test_talipp_agrees_on_candles_of_an_exchange(exchange: Site) -> None:
    """What clients get of an exchange's candles is what talipp makes of a longer history of the same."""
    names = sorted(OPINIONS.keys() - ENDLESS)
    path = f"/api/indicators/SOL-USDC?names={quote(','.join(names))}"
    answer = exchange.get(path)
    assert answer.status_code == 200, answer.text
    services = exchange.services
    until = services.candles.closed_until("1h")
    read = services.candles.candles(
        "binance", "SOL-USDC", "1h", until - CANDLES * 3_600_000, until, closed=True
    )
    prices = Prices.of(read.fact.candles.candles)
    for name in names:
        item = answer.json["indicators"][name]
        assert item["anchored_at"] is None, name
        for output, theirs in opinion(name, prices).items():
            size = np.nanmax(np.abs(theirs[-500:]))
            assert abs(item[output] - theirs[-1]) <= AGREEMENT * size, name


def test_the_document_lists_those_without_a_second_opinion() -> None:
    """docs/indicators.md names each function that nobody but TA-Lib has computed, and no other."""
    (listed,) = re.findall(r"<!-- no second opinion -->\n(.*?)\n\n", DOC.read_text() + "\n\n", re.DOTALL)
    alone = {name for name in library.functions() if not name.startswith("cdl")} - OPINIONS.keys()
    assert set(re.findall(r"`([a-z0-9_]+)`", listed)) == alone | {"cdl"}
