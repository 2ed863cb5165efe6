"""A small deterministic market, the same for every exchange dialect: the truth that tests compare with."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

TRADE_MS = 7_000  # one trade in each such stretch, in its first second
MINUTE_MS = 60_000
DAY_MS = 86_400_000
HALF_SPREAD_TICKS = 2
LEVELS = 600


class Bar(NamedTuple):
    """A candle; prices in ticks, volume in units of 10^-8."""

    at: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Deal(NamedTuple):
    """A trade; price in ticks, amount in units of 10^-8."""

    id: int
    at: int
    price: int
    amount: int
    taker_buys: bool


@dataclass(frozen=True)
class Instrument:
    """A pair, its base price in ticks, and the number of decimals of a tick."""

    base: str
    quote: str
    ticks: int
    decimals: int
    active: bool = True
    listed: int = 1_577_836_800_000  # 2020-01-01, Unix ms: there are no candles before

    def starts(self, first: int, last: int, step: int) -> list[int]:
        """Return the open times of the candles of *step* ms in [first, last]."""
        first = max(first, self.listed)
        return list(range(-(-first // step) * step, last + 1, step))

    def price(self, ticks: int) -> str:
        """Write a price with all its decimals."""
        return fixed(ticks, self.decimals)

    def ticks_at(self, at: int) -> int:
        """Return the price at *at*, Unix ms: a triangle a day long with a ripple, within 3 % of the base."""
        phase = at % DAY_MS
        triangle = min(phase, DAY_MS - phase) * self.ticks // (20 * DAY_MS)
        ripple = (at // TRADE_MS * 7919) % 97 * self.ticks // 20_000
        return self.ticks + triangle + ripple

    def deal(self, number: int) -> Deal:
        """Return the trade with that id."""
        at = number * TRADE_MS + number * 37 % 1000
        amount = 1_000_000 + (number * 104_729) % 99_000_000
        return Deal(number, at, self.ticks_at(at), amount, number * 31 % 5 < 3)

    def deals_until(self, at: int, count: int) -> list[Deal]:
        """Return the last *count* trades at or before *at*, oldest first."""
        last = (at - 999) // TRADE_MS
        return [self.deal(number) for number in range(last - count + 1, last + 1)]

    def bar(self, at: int, length: int) -> Bar:
        """Return the candle that opens at *at* and is *length* ms long."""
        seen = [self.ticks_at(at + length * part // 8) for part in range(8)]
        volume = 1_000_000 + (at // length * 15_485_863) % 900_000_000
        return Bar(at, seen[0], max(seen), min(seen), seen[-1], volume)

    def book(self, at: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return bids and asks at *at*, best first, (ticks, amount)."""
        middle = self.ticks_at(at)
        amounts = [500_000 + level * 37_633 % 77_000_000 for level in range(LEVELS)]
        bids = [(middle - HALF_SPREAD_TICKS - level, amounts[level]) for level in range(LEVELS)]
        asks = [(middle + HALF_SPREAD_TICKS + level, amounts[-level - 1]) for level in range(LEVELS)]
        return bids, asks


def fixed(units: int, decimals: int) -> str:
    """Write *units* of 10^-decimals in fixed notation with all decimals."""
    return f"{Decimal(units).scaleb(-decimals):.{decimals}f}"


def amount_text(units: int) -> str:
    """Write an amount with its eight decimals."""
    return fixed(units, 8)


INSTRUMENTS = (
    Instrument("BTC", "USD", 650_000, 1),
    Instrument("BTC", "USDC", 6_500_000, 2),
    Instrument("ETH", "USDC", 350_000, 2),
    Instrument("SOL", "USDC", 15_000, 2),
    Instrument("DOGE", "USD", 12_345_670, 8),
    Instrument("PEPE", "USD", 91_200, 10),  # 0.0000091200: floats write it with an exponent
    Instrument("OLD", "USD", 10_000, 2, active=False),
)
