"""A loopback exchange with a provider that talks to it through the real ccxt client."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

from shivx.models import Catalogue
from shivx.providers.ccxt_exchange import CcxtExchange
from tests.exchange_market import INSTRUMENTS, Instrument
from tests.exchange_server import ExchangeServer

EXCHANGES = ("kraken", "coinbaseexchange", "binance")
NOW = 1_763_840_523.456  # Unix seconds: 2025-11-22T19:42:03.456Z, inside a candle of every timeframe
NOW_MS = 1_763_840_523_456
HOUR_MS = 3_600_000

PATHS = {
    "kraken": {
        "catalogue": "*/AssetPairs",
        "ticker": "*/Ticker",
        "book": "*/Depth",
        "trades": "*/Trades",
        "candles": "*/OHLC",
    },
    "coinbaseexchange": {
        "catalogue": "/products",
        "ticker": "*/ticker",
        "book": "*/book",
        "trades": "*/trades",
        "candles": "*/candles",
    },
    "binance": {
        "catalogue": "*/exchangeInfo",
        "ticker": "*/ticker/24hr",
        "book": "*/depth",
        "trades": "*/trades",
        "candles": "*/klines",
    },
}

QUESTIONS: dict[str, Callable[[CcxtExchange, Catalogue], Any]] = {
    "catalogue": lambda provider, catalogue: provider.catalogue(),
    "ticker": lambda provider, catalogue: provider.ticker(catalogue, "SOL-USDC"),
    "book": lambda provider, catalogue: provider.order_book(catalogue, "SOL-USDC", 20),
    "trades": lambda provider, catalogue: provider.trades(catalogue, "SOL-USDC", 20),
    "candles": lambda provider, catalogue: provider.candles(
        catalogue, "SOL-USDC", "1h", NOW_MS // HOUR_MS * HOUR_MS - 50 * HOUR_MS, NOW_MS // HOUR_MS * HOUR_MS
    ),
}


class RecordingPacer:
    """Lets every call go at once, and notes what was asked of it."""

    def __init__(self) -> None:
        self.reserved: list[tuple[str, float, float, float]] = []
        self.penalties: list[tuple[str, float]] = []

    def reserve(self, source: str, deadline_in: float, *, interval: float, cost: float = 1.0) -> float:
        """See `Pacer`."""
        self.reserved.append((source, deadline_in, interval, cost))
        return 0.0

    def penalise(self, source: str, seconds: float) -> None:
        """See `Pacer`."""
        self.penalties.append((source, seconds))


class Stage:
    """An exchange at a fixed moment, and a provider for it. Use as a context manager."""

    def __init__(self, exchange: str, *, now: float = NOW, **options: Any) -> None:
        self.exchange = exchange
        self.server = ExchangeServer(exchange, clock=lambda: now)
        self.pacer = RecordingPacer()
        options = {"pacer": self.pacer, "timeout": 5.0, "now": lambda: now, **options}
        self.provider = CcxtExchange(exchange, base_url=self.server.url, **options)

    @cached_property
    def catalogue(self) -> Catalogue:
        """What the exchange trades; asked once."""
        return self.provider.catalogue()

    def fault(self, question: str, kind: str, times: int | None = None, value: Any = None) -> None:
        """Let *question* go wrong from now on."""
        self.catalogue  # noqa: B018 (asked before the fault)
        self.server.fault(PATHS[self.exchange][question], kind, times, value)

    def ask(self, question: str) -> Any:
        """Put one of `QUESTIONS`."""
        return QUESTIONS[question](self.provider, self.catalogue)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.provider.close()
        self.server.close()


def instrument(pair: str) -> Instrument:
    """Return the truth about *pair*."""
    return next(item for item in INSTRUMENTS if f"{item.base}-{item.quote}" == pair)
