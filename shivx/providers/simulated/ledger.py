"""Single trades: the slots of the tape one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shivx.models import Trade
from shivx.providers.simulated.chance import hash_bits, stream_key
from shivx.providers.simulated.listing import LISTINGS, Listing
from shivx.providers.simulated.patterns import SLOT_MS, SLOTS, Integers
from shivx.providers.simulated.tape import Tape, idle_bars, to_ticks

MINUTE_MS = SLOTS * SLOT_MS
_WINDOW_GROWTH = 4  # a quiet pair is searched further back in steps that grow by this
_MEMORY_MINUTES = 512  # 1 kB each

_BUY_BIT = np.uint64(1)
_DELAY_SHIFT = np.uint64(11)


@dataclass(frozen=True)
class Executions:
    """Trades of a pair, oldest first; arrays of one shape (trades,).

    `number` counts slots from the Unix epoch, `at` is Unix ms, `buy` tells that the taker bought.
    """

    number: Integers
    at: Integers
    ticks: Integers
    units: Integers
    buy: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.at)

    def between(self, after_ms: int, until_ms: int) -> Executions:
        """Return those of (*after_ms*, *until_ms*]."""
        return self[np.searchsorted(self.at, after_ms, "right") : np.searchsorted(self.at, until_ms, "right")]

    def __getitem__(self, part: slice) -> Executions:
        return Executions(
            self.number[part], self.at[part], self.ticks[part], self.units[part], self.buy[part]
        )

    def bar(self) -> Integers:
        """Return their bar, shape (6, 1)."""
        if not len(self):
            return idle_bars(1)
        ticks = self.ticks
        values = (ticks[0], ticks.max(), ticks.min(), ticks[-1], self.units.sum(), len(self))
        return np.array(values, dtype=np.int64)[:, np.newaxis]

    def turnover(self) -> int:
        """Return the sum of price times amount, ticks times units."""
        return int((self.ticks * self.units).sum())

    def to_trades(self, listing: Listing) -> tuple[Trade, ...]:
        """Return them newest first, in the digits of *listing*."""
        rows = (self.number, self.at, self.ticks, self.units, self.buy)
        return tuple(
            Trade(
                id=str(number),
                price=listing.price(ticks),
                amount=listing.amount(units),
                side="buy" if buy else "sell",
                at=at,
            )
            for number, at, ticks, units, buy in zip(*(row[::-1].tolist() for row in rows), strict=True)
        )


class Ledger:
    """All trades of a tape, one by one. Thread-safe: what it remembers never changes.

    Minutes are counted from the Unix epoch.
    """

    def __init__(self, tape: Tape, seed: int) -> None:
        self._tape = tape
        self._key = lru_cache(len(LISTINGS))(lambda pair: stream_key(seed, "execution", pair))
        self._minute = lru_cache(_MEMORY_MINUTES)(lambda pair, minute: self.minutes(pair, minute, minute + 1))

    def minute(self, pair: str, minute: int) -> Executions:
        """Return the trades of one *minute*, those to come included."""
        return self._minute(pair, minute)

    def minutes(self, pair: str, first: int, end: int) -> Executions:
        """Return the trades of the minutes [*first*, *end*), those to come included."""
        minutes = self._tape.sketch_range(pair, first, end)
        ticks = to_ticks(self._tape.prices(minutes)).T
        units = self._tape.amounts(minutes).T
        before = np.concatenate([to_ticks(minutes.start)[:, np.newaxis], ticks[:, :-1]], axis=1)
        number = np.arange(first * SLOTS, end * SLOTS)
        bits = hash_bits(self._key(pair), number.astype(np.uint64))
        delay = ((bits >> _DELAY_SHIFT) % np.uint64(SLOT_MS)).astype(np.int64)
        by_chance = (ticks == before) & ((bits & _BUY_BIT) > 0).reshape(ticks.shape)
        real = (units > 0).ravel()
        return Executions(
            number=number[real],
            at=(number * SLOT_MS + delay)[real],
            ticks=ticks.ravel()[real],
            units=units.ravel()[real],
            buy=((ticks > before) | by_chance).ravel()[real],  # the tick rule: who lifts the price bought
        )

    def newest(self, pair: str, now_ms: int, limit: int) -> Executions:
        """Return the *limit* last trades up to *now_ms*; fewer only if there never were more."""
        end = now_ms // MINUTE_MS + 1
        if limit == 1 and len(found := self.minute(pair, end - 1).between(-1, now_ms)):
            return found[len(found) - 1 :]
        span = limit // SLOTS + 2
        while True:
            first = max(0, end - span)
            found = self.minutes(pair, first, end).between(-1, now_ms)
            if len(found) >= limit or first == 0:
                return found[max(0, len(found) - limit) :]
            span *= _WINDOW_GROWTH
