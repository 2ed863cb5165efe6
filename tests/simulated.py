"""A simulated exchange whose clock a test sets, and what tests recompute from its answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from hashlib import sha256

import msgspec

from shivx.models import TIMEFRAMES, Candle, Candles, OrderBook, Ticker, Trade, Trades
from shivx.providers.simulated import SimulatedExchange

MINUTE_MS = 60_000
DAY_MS = 86_400_000
SLOT_MS = 5_000
NOON = 1_795_348_800_000  # 2026-11-22 12:00 UTC, Unix ms
BUSY, NORMAL, QUIET = "BTC-USDC", "LINK-EUR", "SOL-ETH"
TINY = "SHIB-USDC"  # costs some 0.00002
PAIRS = (BUSY, NORMAL, QUIET, TINY, "ETH-BTC", "USDC-EUR")


class SimulatedMarket:
    """An exchange at `now_ms`, Unix ms, which may be set at any time, forward and back."""

    def __init__(self, now_ms: int = NOON, seed: int = 1, **options: object) -> None:
        self.now_ms = now_ms
        self.exchange = SimulatedExchange(seed, now=self.time, **options)
        self.catalogue = self.exchange.catalogue()

    def time(self) -> float:
        """Return the Unix time in seconds, half a ms on, so that no rounding falls below `now_ms`."""
        return (self.now_ms + 0.5) / 1000

    def ticker(self, pair: str) -> Ticker:
        """Return the ticker of *pair*."""
        return self.exchange.ticker(self.catalogue, pair)

    def book(self, pair: str, depth: int = 20) -> OrderBook:
        """Return the book of *pair*."""
        return self.exchange.order_book(self.catalogue, pair, depth)

    def trades(self, pair: str, limit: int = 500) -> Trades:
        """Return the newest trades of *pair*."""
        return self.exchange.trades(self.catalogue, pair, limit)

    def candles(self, pair: str, timeframe: str, since: int, until: int) -> Candles:
        """Return the candles of *pair* that open in [*since*, *until*)."""
        return self.exchange.candles(self.catalogue, pair, timeframe, since, until)

    def last_candles(self, pair: str, timeframe: str, count: int) -> tuple[Candle, ...]:
        """Return those of the last *count* timeframes, the open one included."""
        length = TIMEFRAMES[timeframe]
        until = self.now_ms // length * length + length
        return self.candles(pair, timeframe, until - count * length, until).candles

    def trades_back_to(self, pair: str, after_ms: int) -> list[Trade]:
        """Return all trades later than *after_ms* by asking at ever earlier times, newest first."""
        now_ms, found = self.now_ms, {}
        while True:
            page = self.trades(pair).trades
            found |= {trade.id: trade for trade in page}
            if page[-1].at <= after_ms:
                break
            self.now_ms = page[-1].at
        self.now_ms = now_ms
        return [trade for trade in found.values() if trade.at > after_ms]


def aggregate(candles: Iterable[Candle], length: int) -> list[Candle]:
    """Return *candles*, oldest first, as candles of *length* ms, by decimal arithmetic on their digits."""
    groups: dict[int, list[Candle]] = defaultdict(list)
    for candle in candles:
        groups[candle[0] // length * length].append(candle)
    return [(opened, *_sum(group)) for opened, group in groups.items()]


def aggregate_trades(trades: Sequence[Trade], length: int) -> list[Candle]:
    """Return *trades*, newest first, as candles of *length* ms."""
    ticks = [(t.at, t.price, t.price, t.price, t.price, t.amount) for t in reversed(trades)]
    return aggregate(ticks, length)


def _sum(group: Sequence[Candle]) -> tuple[str, str, str, str, str]:
    _, opens, highs, lows, closes, volumes = zip(*group, strict=True)
    volume = sum(map(Decimal, volumes))
    return opens[0], max(highs, key=Decimal), min(lows, key=Decimal), closes[-1], f"{volume:f}"


def digest() -> str:
    """Return a hash of everything that a fixed market answers; equal wherever it is computed."""
    market = SimulatedMarket(seed=7)
    answers: list[object] = [market.catalogue]
    for pair in PAIRS:
        answers += [market.ticker(pair), market.book(pair, 100), market.trades(pair)]
        answers += [market.last_candles(pair, timeframe, 300) for timeframe in TIMEFRAMES]
    return sha256(msgspec.json.encode(answers)).hexdigest()


if __name__ == "__main__":
    print(digest())
