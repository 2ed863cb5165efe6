"""What the tape says up to the present: candles, the open one included, and the last 24 hours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shivx.models import Candle
from shivx.providers.simulated.ledger import MINUTE_MS, Ledger
from shivx.providers.simulated.listing import Listing
from shivx.providers.simulated.numerals import all_digits
from shivx.providers.simulated.patterns import Integers
from shivx.providers.simulated.tape import (
    CLOSE,
    HIGH,
    LOW,
    MINUTES_PER_HOUR,
    OPEN,
    TRADES,
    VOLUME,
    Tape,
    fold,
    idle_bars,
)

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Day:
    """The sum of some trades: prices in ticks, volume in units, turnover in ticks times units."""

    first: int
    high: int
    low: int
    volume: int
    turnover: int


class History:
    """The past of all pairs. Each method is told the present, and nothing later gets out."""

    def __init__(self, tape: Tape, ledger: Ledger) -> None:
        self._tape = tape
        self._ledger = ledger

    def last_day(self, pair: str, now_ms: int) -> Day | None:
        """Return the sum of all trades in (*now_ms* - 24 h, *now_ms*], to the millisecond; None if none."""
        after_ms = max(-1, now_ms - DAY_MS)
        first, end = (after_ms + 1) // MINUTE_MS, now_ms // MINUTE_MS
        begun = self._ledger.minute(pair, first).between(after_ms, now_ms)
        present = self._ledger.minute(pair, end).between(max(after_ms, (first + 1) * MINUTE_MS - 1), now_ms)
        inner = (pair, first + 1, max(first + 1, end))
        bars = np.concatenate([begun.bar(), self._tape.minutes(*inner), present.bar()], axis=1)
        total = fold(bars, bars.shape[1])[:, 0].tolist()
        if total[TRADES] == 0:
            return None
        return Day(
            first=total[OPEN],
            high=total[HIGH],
            low=total[LOW],
            volume=total[VOLUME],
            turnover=begun.turnover() + int(self._tape.turnover(*inner).sum()) + present.turnover(),
        )

    def candles(
        self, listing: Listing, length_ms: int, first: int, end: int, now_ms: int
    ) -> tuple[Candle, ...]:
        """Return the candles number [*first*, *end*) in which there was a trade up to *now_ms*.

        Args:
            length_ms: of a candle; whole minutes below an hour, else whole hours.
            first, end: counted from the Unix epoch in *length_ms*; *first* not after *now_ms*.
        """
        size = length_ms // MINUTE_MS
        read = self._minutes
        if size % MINUTES_PER_HOUR == 0:
            size //= MINUTES_PER_HOUR
            read = self._hours
        folded = fold(read(listing.pair, first * size, end * size, now_ms), size)
        traded = np.flatnonzero(folded[TRADES])
        columns = folded[:, traded].tolist()
        prices = [all_digits(columns[row], listing.price_decimals) for row in (OPEN, HIGH, LOW, CLOSE)]
        opened = ((traded + first) * length_ms).tolist()
        return tuple(zip(opened, *prices, all_digits(columns[VOLUME], listing.amount_decimals), strict=True))

    def _minutes(self, pair: str, first: int, end: int, now_ms: int) -> Integers:
        """Return the bars of the minutes [*first*, *end*), idle from *now_ms* on."""
        present = now_ms // MINUTE_MS
        if end <= present:
            return self._tape.minutes(pair, first, end)
        past = self._tape.minutes(pair, first, present)
        open_bar = self._ledger.minute(pair, present).between(-1, now_ms).bar()
        return np.concatenate([past, open_bar, idle_bars(end - present - 1)], axis=1)

    def _hours(self, pair: str, first: int, end: int, now_ms: int) -> Integers:
        """Return the bars of the hours [*first*, *end*), idle from *now_ms* on."""
        present = now_ms // (MINUTES_PER_HOUR * MINUTE_MS)
        if end <= present:
            return self._tape.hours(pair, first, end)
        past = self._tape.hours(pair, first, present)
        begin = present * MINUTES_PER_HOUR
        open_bar = fold(self._minutes(pair, begin, begin + MINUTES_PER_HOUR, now_ms), MINUTES_PER_HOUR)
        return np.concatenate([past, open_bar, idle_bars(end - present - 1)], axis=1)
