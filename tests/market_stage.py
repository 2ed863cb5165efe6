"""The market services and the whole application on a scripted exchange and a clock that tests move."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from cache_ext import TieredCache, open_cache
from cache_ext.reading.fetching import Fetcher
from cache_ext.runtime import Runtime
from cache_ext.testing import FakeClock
from shivx import wiring
from shivx.app import create_app
from shivx.config import Settings
from shivx.errors import OriginError, OriginUnavailable, UnknownPair
from shivx.models import (
    TIMEFRAMES,
    Candle,
    Candles,
    Catalogue,
    Market,
    OrderBook,
    Pair,
    Ticker,
    Token,
    Trade,
    Trades,
)
from shivx.providers.base import MarketDataProvider
from shivx.providers.measured import MeasuredProvider
from shivx.services import CandleService, MarketService, Policies, register_facts
from shivx.wiring import Services, services_of

SECRET = "s" * 32
UNLIMITED = 1_000_000  # requests a minute
PAIRS = ("BTC-USDC", "ETH-USDC", "SOL-USDC", "Ä-USDC")
LATE_MS = 900
"""Trades of a candle's last moment come in so long after its end: until then it is not what it will be."""
LEVELS = 300


class ScriptedExchange:
    """A `MarketDataProvider` that computes all from pair and time, notes what it is asked, and fails if told.

    Every seventh candle or so is a gap. One that is not final yet says so in its volume.

    Args:
        clock: the time it goes by.
        source: its name.
        timeframes: those it has natively.
        max_history: candles back from now that it gives, None for all.
    """

    def __init__(
        self,
        clock: FakeClock,
        *,
        source: str = "scripted",
        timeframes: Sequence[str] = tuple(TIMEFRAMES),
        max_history: int | None = None,
    ) -> None:
        self.source = source
        self.asked: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self.failing: dict[Pair, OriginError] = {}
        self.as_of: int | None = None
        self.trade_times: list[int] = [1_699_999_000_000 + 700 * (number // 3) for number in range(700)]
        self._clock = clock
        self._timeframes = tuple(timeframes)
        self._max_history = max_history

    def count(self, question: str) -> int:
        """Return how often *question* (a method's name) was asked."""
        return sum(asked[0] == question for asked in self.asked)

    def catalogue(self) -> Catalogue:
        """Return four pairs, one of them not ASCII."""
        self._note("catalogue")
        return Catalogue(
            markets={pair: _market(pair) for pair in PAIRS},
            tokens={
                "BTC": Token("BTC", "Bitcoin", 8, True),
                "USDC": Token("USDC"),
                "Ä": Token("Ä", None, 0, False),
            },
            timeframes=self._timeframes,
            max_history=self._max_history,
            received_at=self._now(),
            as_of=self.as_of,
        )

    def ticker(self, catalogue: Catalogue, pair: Pair) -> Ticker:
        """Return a price whose digits count the questions."""
        self._note("ticker", pair)
        return self._ticker(catalogue, pair)

    def tickers(self, catalogue: Catalogue, pairs: Sequence[Pair]) -> Mapping[Pair, Ticker | OriginError]:
        """Return the price of each of *pairs* that does not fail."""
        self._note("tickers", *pairs)
        return {pair: self.failing.get(pair) or self._ticker(catalogue, pair) for pair in pairs}

    def order_book(self, catalogue: Catalogue, pair: Pair, depth: int) -> OrderBook:
        """Return `LEVELS` levels a side, or *depth* if that is less."""
        self._note("order_book", pair, depth)
        levels = range(min(depth, LEVELS))
        return OrderBook(
            pair=pair,
            bids=tuple((f"{1000 - level}.10", f"0.{level:04d}50") for level in levels),
            asks=tuple((f"{1001 + level}.20", f"1.{level:04d}00") for level in levels),
            received_at=self._now(),
            as_of=self.as_of,
        )

    def trades(self, catalogue: Catalogue, pair: Pair, limit: int) -> Trades:
        """Return the newest *limit* trades; three share a millisecond."""
        self._note("trades", pair, limit)
        made = [
            Trade(str(number), f"{number}.50", "0.10", "buy" if number % 2 else "sell", at)
            for number, at in enumerate(self.trade_times)
        ]
        return Trades(pair, tuple(reversed(made[-limit:])), self._now(), self.as_of)

    def candles(self, catalogue: Catalogue, pair: Pair, timeframe: str, since: int, until: int) -> Candles:
        """Return the candles that there are at this moment."""
        self._note("candles", pair, timeframe, since, until)
        assert timeframe in self._timeframes
        length, now = TIMEFRAMES[timeframe], self._now()
        assert since % length == until % length == 0
        assert since < until
        first = since
        if self._max_history is not None:
            first = max(since, now // length * length - (self._max_history - 1) * length)
        return Candles(
            pair=pair,
            timeframe=timeframe,
            candles=truth(timeframe, first, min(until, now + 1), now),
            covered_since=min(first, until),
            received_at=now,
            as_of=self.as_of,
        )

    def _note(self, *question: Any) -> None:
        self.asked.append(question)
        if self.failure is not None:
            raise self.failure

    def _now(self) -> int:
        return int(self._clock.time() * 1000)

    def _ticker(self, catalogue: Catalogue, pair: Pair) -> Ticker:
        if pair not in catalogue.markets:
            raise UnknownPair(pair)
        return Ticker(
            pair=pair,
            price=f"{len(self.asked)}.1000000000000000000000000500",
            bid="0.000000010",
            ask="12345678901234567890.10",
            received_at=self._now(),
            as_of=self.as_of,
            change_24h_percent=-0.1,
        )


def truth(timeframe: str, since: int, until: int, now: int) -> tuple[Candle, ...]:
    """Return the candles that open in [*since*, *until*), Unix ms, as they are at *now*."""
    length = TIMEFRAMES[timeframe]
    numbers = range(-(-since // length), -(-until // length))
    return tuple(_candle(number, length, now) for number in numbers if _mix(number, length) % 7)


def _candle(number: int, length: int, now: int) -> Candle:
    mix, at = _mix(number, length), number * length
    low, high = 70 + mix % 60, 940 + mix % 90
    prices = (f"{140 + mix % 30}.{mix % 1000:03d}", f"{high}.50", f"{low}.0", f"{141 + mix % 30}")
    seen = min(now - at, length + LATE_MS)
    volume = f"{mix % 50}.{mix:010d}" if seen == length + LATE_MS else f"{seen}.0"
    return (at, *prices, volume)


def _mix(number: int, length: int) -> int:
    return (number * 2_654_435_761 + length) % 4_294_967_291


def _market(pair: Pair) -> Market:
    base, quote = pair.split("-")
    if pair == "SOL-USDC":
        return Market(pair, base, quote, "halted")
    return Market(pair, base, quote, "active", "0.010", "0.0000000100", "0.1", "5.00")


def with_clock(cache: TieredCache, clock: FakeClock) -> TieredCache:
    """Return *cache*, not started yet, going by *clock*."""
    cache.runtime = Runtime(cache.settings, cache.gateway, cache._codec, clock.monotonic)
    cache._fetcher = Fetcher(cache.runtime, clock.monotonic)
    return cache


@dataclass
class Desk:
    """The services of one process, without HTTP."""

    exchange: ScriptedExchange
    cache: TieredCache
    market: MarketService
    candles: CandleService


def open_desk(clock: FakeClock, *, settings: Settings | None = None, **exchange: Any) -> Desk:
    """Return services of a process that shares with nobody; nothing of them needs closing."""
    cache = with_clock(open_cache("memory://", l1_max_bytes=2**30), clock)
    register_facts(cache)
    scripted = ScriptedExchange(clock, **exchange)
    policies = Policies.of(settings or Settings())
    market = MarketService(cache, {scripted.source: MeasuredProvider(scripted)}, policies)
    return Desk(scripted, cache, market, CandleService(cache, market, policies, clock.time))


class Site:
    """The application under test, as its clients see it, and what stands behind it."""

    def __init__(self, app: Flask, exchanges: Sequence[ScriptedExchange], clock: FakeClock | None) -> None:
        self.app = app
        self.exchanges = exchanges
        self.clock = clock

    @property
    def client(self) -> FlaskClient:
        """A client without cookies."""
        return self.app.test_client()

    @property
    def exchange(self) -> ScriptedExchange:
        """The first exchange."""
        return self.exchanges[0]

    @property
    def services(self) -> Services:
        """What the views work with."""
        return services_of(self.app)

    def get(self, path: str, **options: Any) -> Any:
        """Send a GET and return the response."""
        return self.client.get(path, **options)


def settings_for(url: str = "memory://", **settings: Any) -> Settings:
    """Return settings with the Redis at *url*; ``memory://``, which no operator may set, is for tests."""
    made = Settings(
        **{"secret_keys": (SECRET,), "cache_op_timeout": 1.0, "limit_anonymous": UNLIMITED, **settings}
    )
    return made.model_copy(update={"redis_url": SecretStr(url)})


@contextmanager
def open_site(
    settings: Settings,
    *exchanges: ScriptedExchange,
    clock: FakeClock | None = None,
    start: bool = True,
) -> Iterator[Site]:
    """Open the application that *settings* describe, on *exchanges* if given; close it at the end.

    Args:
        clock: what cache and candles go by instead of the time.
        start: connect at once.
    """
    with tempfile.TemporaryDirectory(prefix="shivx-site-") as folder:
        with pytest.MonkeyPatch.context() as patch:
            if exchanges:
                patch.setattr(wiring, "build_providers", lambda *_: _measured(exchanges))
            app = create_app(_housed(settings, Path(folder)))
        yield from _opened(app, exchanges, clock, start)


def _housed(settings: Settings, folder: Path) -> Settings:
    """Return *settings* with *folder* for what is kept, the audit say, unless they name another."""
    if "instance_dir" in settings.model_fields_set:
        return settings
    place: dict[str, Any] = {"instance_dir": folder}
    if "database_url" not in settings.model_fields_set:
        place["database_url"] = SecretStr(f"sqlite:///{folder}/shivx.db")
    return settings.model_copy(update=place)


def _opened(
    app: Flask, exchanges: Sequence[ScriptedExchange], clock: FakeClock | None, start: bool
) -> Iterator[Site]:
    services = services_of(app)
    if clock is not None:
        with_clock(services.cache, clock)
        services.candles._now = clock.time
    try:
        if start:
            services.start()
        yield Site(app, exchanges, clock)
    finally:
        services.close()
        for provider in services.providers.values():
            getattr(provider._provider, "close", lambda: None)()


def scripted_site(clock: FakeClock, url: str = "memory://", **settings: Any) -> Any:
    """Open the application on one scripted exchange; see `open_site`."""
    return open_site(settings_for(url, **settings), ScriptedExchange(clock), clock=clock)


def _measured(exchanges: Iterable[MarketDataProvider]) -> dict[str, MeasuredProvider]:
    return {exchange.source: MeasuredProvider(exchange) for exchange in exchanges}


def down(retry_after: float = 7.0) -> OriginUnavailable:
    """Return what an exchange that is down makes a provider raise."""
    return OriginUnavailable("the exchange is down", retry_after)


def walk(read: Callable[[str], Any], first: str, limit: int = 100) -> Iterator[Any]:
    """Yield the JSON of the page at *first* and of those that ``next`` leads to, at most *limit*."""
    path = first
    for _ in itertools.repeat(None, limit):
        page = read(path).json
        yield page
        if page["next"] is None:
            return
        path = f"{first}&cursor={page['next']}"
    raise AssertionError(f"after {limit} pages there is no end")
