"""The service on a market of 500 pairs: the simulated exchange, its pairs listed again under more names.

For gunicorn: ``benchmarks.many_pairs:make_app()``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask import Flask
from msgspec.structs import replace

from shivx import create_app, sources
from shivx.errors import OriginError
from shivx.models import Candles, Catalogue, OrderBook, Pair, Ticker
from shivx.providers.simulated import SimulatedExchange
from shivx.providers.simulated.listing import LISTINGS

COUNT = 500
LISTED = tuple(LISTINGS)
TWINS: dict[Pair, Pair] = {
    f"X{number}-USDC" if number >= len(LISTED) else LISTED[number]: LISTED[number % len(LISTED)]
    for number in range(COUNT)
}
"""Every pair, and the pair of the simulated exchange whose market it has."""


class ManyPairs(SimulatedExchange):
    """The simulated exchange with `COUNT` pairs."""

    def catalogue(self) -> Catalogue:
        """See `MarketDataProvider`."""
        found = super().catalogue()
        markets = {pair: replace(found.markets[twin], pair=pair) for pair, twin in TWINS.items()}
        return replace(found, markets=markets)

    def ticker(self, catalogue: Catalogue, pair: Pair) -> Ticker:
        """See `MarketDataProvider`."""
        return replace(super().ticker(catalogue, TWINS[pair]), pair=pair)

    def tickers(self, catalogue: Catalogue, pairs: Sequence[Pair]) -> Mapping[Pair, Ticker | OriginError]:
        """See `MarketDataProvider`."""
        return {pair: self.ticker(catalogue, pair) for pair in pairs}

    def order_book(self, catalogue: Catalogue, pair: Pair, depth: int) -> OrderBook:
        """See `MarketDataProvider`."""
        return replace(super().order_book(catalogue, TWINS[pair], depth), pair=pair)

    def candles(self, catalogue: Catalogue, pair: Pair, timeframe: str, since: int, until: int) -> Candles:
        """See `MarketDataProvider`."""
        return replace(super().candles(catalogue, TWINS[pair], timeframe, since, until), pair=pair)


def make_app() -> Flask:
    """Return the service on that market."""
    sources.SimulatedExchange = ManyPairs  # type: ignore[misc,attr-defined]
    return create_app()
