"""A provider that counts and times another one's answers, and remembers whether it answers at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from shivx.errors import NotFound, OriginError, OriginInvalid
from shivx.models import Candles, Catalogue, OrderBook, Pair, Ticker, Trades
from shivx.providers.base import MarketDataProvider

BUCKETS = (
    5e-5,
    1e-4,
    2.5e-4,
    5e-4,
    1e-3,
    2.5e-3,
    5e-3,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Seconds, as all durations have them; a test compares."""

_requests = Counter(
    "origin_requests",
    "Questions to origins, by source and outcome (ok, unavailable, invalid, not_found).",
    ("source", "outcome"),
)
_duration = Histogram(
    "origin_request_duration_seconds",
    "Time that origins took to answer, waiting for their meter included.",
    ("source",),
    buckets=BUCKETS,
)


class MeasuredProvider:
    """Implements `MarketDataProvider` by asking *provider*.

    Args:
        provider: the one that is measured.
        monotonic: the clock, seconds.
    """

    def __init__(self, provider: MarketDataProvider, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self._monotonic = monotonic
        self.answers = True
        """Whether the last question got an answer; True before the first."""
        self.asked_at: float | None = None
        """When that was, Unix seconds."""

    @property
    def source(self) -> str:
        """See `MarketDataProvider`."""
        return self._provider.source

    def catalogue(self) -> Catalogue:
        """See `MarketDataProvider`."""
        with self._measured():
            return self._provider.catalogue()

    def ticker(self, catalogue: Catalogue, pair: Pair) -> Ticker:
        """See `MarketDataProvider`."""
        with self._measured():
            return self._provider.ticker(catalogue, pair)

    def tickers(self, catalogue: Catalogue, pairs: Sequence[Pair]) -> Mapping[Pair, Ticker | OriginError]:
        """See `MarketDataProvider`."""
        with self._measured():
            found = self._provider.tickers(catalogue, pairs)
        if found and all(isinstance(each, OriginError) for each in found.values()):
            self.answers = False
        return found

    def order_book(self, catalogue: Catalogue, pair: Pair, depth: int) -> OrderBook:
        """See `MarketDataProvider`."""
        with self._measured():
            return self._provider.order_book(catalogue, pair, depth)

    def trades(self, catalogue: Catalogue, pair: Pair, limit: int) -> Trades:
        """See `MarketDataProvider`."""
        with self._measured():
            return self._provider.trades(catalogue, pair, limit)

    def candles(self, catalogue: Catalogue, pair: Pair, timeframe: str, since: int, until: int) -> Candles:
        """See `MarketDataProvider`."""
        with self._measured():
            return self._provider.candles(catalogue, pair, timeframe, since, until)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        started, outcome = self._monotonic(), "ok"
        try:
            yield
        except OriginInvalid:
            outcome = "invalid"
            raise
        except OriginError:
            outcome = "unavailable"
            raise
        except NotFound:
            outcome = "not_found"
            raise
        finally:
            self.answers, self.asked_at = outcome in {"ok", "not_found"}, time.time()
            _requests.labels(self.source, outcome).inc()
            _duration.labels(self.source).observe(self._monotonic() - started)
