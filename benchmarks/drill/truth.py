"""What the market really was: answers are compared with the exchange that they come from."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from shivx.models import TIMEFRAMES, Level
from shivx.providers.simulated import SimulatedExchange
from tests.exchange_market import INSTRUMENTS, Instrument

HOUR = TIMEFRAMES["1h"]
TRAVEL_MS = 1_000
"""How long before it was received a book may have been made."""

Fact = dict[str, Any]


class Truth(Protocol):
    """Tells what is wrong with an answer."""

    def price(self, fact: Fact) -> bool:
        """Tell whether a price is what it was at that moment."""

    def book(self, fact: Fact) -> bool:
        """Tell whether a book is."""

    def candles(self, fact: Fact) -> bool:
        """Tell whether the candles that had closed are."""


def read(body: bytes) -> Fact:
    """Return an answer's JSON, its numbers with all their digits."""
    fact: Fact = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    return fact


def unix_ms(text: str) -> int:
    """Return a time of an answer, Unix ms."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class Simulated:
    """The simulated exchange, which computes any moment again."""

    def __init__(self) -> None:
        self._at = 0
        # Half a millisecond later: seconds as a float may be a little less than the millisecond is.
        self._exchange = SimulatedExchange(now=lambda: (self._at + 0.5) / 1000)
        self._catalogue = self._exchange.catalogue()

    def price(self, fact: Fact) -> bool:
        """See `Truth`."""
        self._at = unix_ms(fact["received_at"])
        true = self._exchange.ticker(self._catalogue, fact["pair"])
        names = ("price", "bid", "ask", "high_24h", "low_24h", "volume_24h", "quote_volume_24h")
        return all(_same(fact[name], getattr(true, name)) for name in names)

    def book(self, fact: Fact) -> bool:
        """See `Truth`."""
        self._at = unix_ms(fact["received_at"])
        true = self._exchange.order_book(self._catalogue, fact["pair"], len(fact["bids"]))
        return _rows(fact["bids"]) == _rows(true.bids) and _rows(fact["asks"]) == _rows(true.asks)

    def candles(self, fact: Fact) -> bool:
        """See `Truth`."""
        closed = fact["candles"][: -1 if fact["open_candle"] else None]
        since, until = int(closed[0][0]), int(closed[-1][0]) + HOUR
        self._at = until + HOUR
        true = self._exchange.candles(self._catalogue, fact["pair"], "1h", since, until)
        return _rows(closed) == _rows(true.candles)


class Loopback:
    """The exchange that tests play on the loopback, whose market is known at each moment."""

    def __init__(self) -> None:
        self._instruments = {f"{each.base}-{each.quote}": each for each in INSTRUMENTS}

    def price(self, fact: Fact) -> bool:
        """See `Truth`."""
        item = self._instruments[fact["pair"]]
        last = item.deals_until(unix_ms(fact["as_of"]), 1)[0]
        return _same(fact["price"], item.price(last.price))

    def book(self, fact: Fact) -> bool:
        """See `Truth`."""
        item, received = self._instruments[fact["pair"]], unix_ms(fact["received_at"])
        moments = range(received - TRAVEL_MS, received + 1)
        return any(fact["bids"][0][0] == self._best(item, each) for each in moments)

    def candles(self, fact: Fact) -> bool:
        """See `Truth`."""
        item = self._instruments[fact["pair"]]
        for at, opened, high, low, close, _ in fact["candles"][: -1 if fact["open_candle"] else None]:
            bar = item.bar(int(at), HOUR)
            true = (bar.open, bar.high, bar.low, bar.close)
            if (opened, high, low, close) != tuple(Decimal(item.price(each)) for each in true):
                return False
        return True

    @staticmethod
    def _best(item: Instrument, at: int) -> Decimal:
        bids, _ = item.book(at)
        return Decimal(item.price(bids[0][0]))


def _same(told: Decimal | None, true: str | None) -> bool:
    return told == (None if true is None else Decimal(true))


def _rows(rows: list[list[Any]] | tuple[Level, ...] | Any) -> list[list[Decimal]]:
    return [[Decimal(each) for each in row] for row in rows]
