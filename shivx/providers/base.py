"""The seam to the origin: what ShivX asks of an exchange, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from shivx.errors import OriginError
from shivx.models import Candles, Catalogue, OrderBook, Pair, Ticker, Trades


class MarketDataProvider(Protocol):
    """One source of market data. Safe to call from many threads and greenlets at once.

    Each method is one question to the origin, with one total deadline however many calls it takes. It
    returns validated facts or raises; it caches nothing. `catalogue` is asked first, and what it returned
    (here or in another process) is handed back to every other method.

    Raises (all methods):
        OriginUnavailable: down, too slow, cut off, limiting us, or our own metering has no slot in time.
        OriginInvalid: the answer is not market data.
    """

    @property
    def source(self) -> str:
        """``simulated`` or the exchange's id; part of every key and tag."""

    def catalogue(self) -> Catalogue:
        """Return all spot pairs, tokens and timeframes."""

    def ticker(self, catalogue: Catalogue, pair: Pair) -> Ticker:
        """Return the price of *pair*. Raises UnknownPair."""

    def tickers(self, catalogue: Catalogue, pairs: Sequence[Pair]) -> Mapping[Pair, Ticker | OriginError]:
        """Return what is known of each of *pairs*, in as few origin calls as the exchange allows."""

    def order_book(self, catalogue: Catalogue, pair: Pair, depth: int) -> OrderBook:
        """Return at least *depth* levels a side (1..500), or all there are. Raises UnknownPair."""

    def trades(self, catalogue: Catalogue, pair: Pair, limit: int) -> Trades:
        """Return up to *limit* (1..500) latest trades, newest first. Raises UnknownPair."""

    def candles(self, catalogue: Catalogue, pair: Pair, timeframe: str, since: int, until: int) -> Candles:
        """Return the candles that open in [*since*, *until*), the open one included if it does.

        Args:
            timeframe: one of ``catalogue.timeframes``.
            since, until: Unix ms, multiples of the timeframe.
        Raises:
            UnknownPair: *pair* is not traded here.
        """
