"""Market facts as ShivX keeps them: frozen, typed, in the exchange's own digits.

Prices and amounts are `Digits`: decimal text in fixed notation (``-?\\d+(\\.\\d+)?``), exactly as many
digits as the exchange gave, never through a float and never in exponent form. Times are integer Unix
milliseconds, UTC. Every fact carries `as_of` (the exchange's own time, None if it gives none) and
`received_at` (ours, when its answer was complete).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Digits = Annotated[str, Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$", max_length=80)]
Pair = str
Side = Literal["buy", "sell"]
Level = tuple[Digits, Digits]
"""One price level of a book: (price, amount)."""
Candle = tuple[int, Digits, Digits, Digits, Digits, Digits]
"""(open time in Unix ms, open, high, low, close, volume in base currency)."""

TIMEFRAMES: dict[str, int] = {
    "1m": 60_000,
    "5m": 300_000,
    "15m": 900_000,
    "1h": 3_600_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}
"""Timeframes that clients may ask for, and their length in ms. Each divides the next larger ones."""


class Market(Struct, frozen=True):
    """One spot pair and the exchange's rules for it; None where the exchange says nothing."""

    pair: Pair
    base: str
    quote: str
    status: str
    price_increment: Digits | None = None
    amount_increment: Digits | None = None
    min_amount: Digits | None = None
    min_notional: Digits | None = None


class Token(Struct, frozen=True):
    """One currency. `precision` is the number of decimal places, None if unknown."""

    symbol: str
    name: str | None = None
    precision: int | None = None
    active: bool | None = None


class Catalogue(Struct, frozen=True):
    """All that a source trades, and how.

    `timeframes` are those the source has natively, smallest first; `max_history` is how many candles back
    from now it can give at most, None if it does not say. `native` is the provider's own memory of its
    markets, opaque to everyone else: it lets another process talk to the exchange without loading them
    again.
    """

    markets: dict[Pair, Market]
    tokens: dict[str, Token]
    timeframes: tuple[str, ...]
    max_history: int | None
    received_at: int
    as_of: int | None = None
    native: bytes = b""


class Ticker(Struct, frozen=True):
    """The price of a pair now and over the last 24 hours."""

    pair: Pair
    price: Digits
    received_at: int
    as_of: int | None = None
    bid: Digits | None = None
    ask: Digits | None = None
    high_24h: Digits | None = None
    low_24h: Digits | None = None
    volume_24h: Digits | None = None
    quote_volume_24h: Digits | None = None
    change_24h_percent: float | None = None


class OrderBook(Struct, frozen=True):
    """Price levels, best first on both sides; a side may be empty."""

    pair: Pair
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    received_at: int
    as_of: int | None = None


class Trade(Struct, frozen=True):
    """One execution; `side` is the taker's, `at` in Unix ms."""

    id: str
    price: Digits
    amount: Digits
    side: Side
    at: int


class Trades(Struct, frozen=True):
    """The latest executions, newest first."""

    pair: Pair
    trades: tuple[Trade, ...]
    received_at: int
    as_of: int | None = None


class Candles(Struct, frozen=True):
    """Candles of one timeframe, oldest first, the open one (if asked for) last.

    Every candle whose open time lies in [`covered_since`, the end of what was asked) and in which there
    was a trade is here; before `covered_since` the source could not say. Gaps stay gaps.
    """

    pair: Pair
    timeframe: str
    candles: tuple[Candle, ...]
    covered_since: int
    received_at: int
    as_of: int | None = None
