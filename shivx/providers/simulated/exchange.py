"""The simulated exchange: the provider that needs no network, with the faults of those that do."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from shivx.errors import OriginError, OriginUnavailable, UnknownPair
from shivx.models import TIMEFRAMES, Candles, Catalogue, OrderBook, Pair, Ticker, Trades
from shivx.providers.simulated.book import Book
from shivx.providers.simulated.history import History
from shivx.providers.simulated.ledger import Ledger
from shivx.providers.simulated.listing import LISTINGS, Listing, make_catalogue
from shivx.providers.simulated.numerals import digits
from shivx.providers.simulated.patterns import SLOT_MS
from shivx.providers.simulated.tape import Tape

DEFAULT_SEED = 1
MAX_CANDLES = 5000
"""The most candles that one call answers with; of a longer range, the newest."""
_draw = random.SystemRandom().random


def _sleep(seconds: float) -> None:
    """Sleep as `time.sleep` does now; gevent may have replaced it since this module was imported."""
    time.sleep(seconds)


@dataclass(frozen=True)
class Present:
    """A pair at one moment, `now_ms`: the price of its last trade, in ticks, and when the market last moved.

    The market moves with each trade and, in its book, with each slot; `as_of` is the later of the two.
    """

    now_ms: int
    slot: int
    last: int
    as_of: int


class SimulatedExchange:
    """A `MarketDataProvider` that computes its market from the seed, the pair and the time.

    Every instance with the same seed tells the same, in whatever process and on whatever machine. Nothing
    that happens after `now` is ever told. The catalogue that callers hand back is not looked at: it is the
    same for all.

    Args:
        seed: which market.
        latency: seconds that each call takes, >= 0.
        failure_rate: share of calls that raise OriginUnavailable, 0 to 1.
        timeout: seconds after which a call that takes longer raises OriginUnavailable, > 0.
        now: returns the Unix time, seconds.
        sleep: waits for some seconds.
        draw: returns a number in [0, 1); a call fails if it is below the failure rate.
    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        seed: int = DEFAULT_SEED,
        *,
        latency: float = 0.0,
        failure_rate: float = 0.0,
        timeout: float = 10.0,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = _sleep,
        draw: Callable[[], float] = _draw,
    ) -> None:
        if not (latency >= 0.0 and 0.0 <= failure_rate <= 1.0 and timeout > 0.0):
            raise ValueError(f"out of range: {latency=}, {failure_rate=}, {timeout=}")
        self._latency = latency
        self._failure_rate = failure_rate
        self._timeout = timeout
        self._now = now
        self._sleep = sleep
        self._draw = draw
        tape = Tape(seed)
        self._ledger = Ledger(tape, seed)
        self._history = History(tape, self._ledger)
        self._book = lru_cache(len(LISTINGS))(lambda pair: Book(LISTINGS[pair], seed))

    @property
    def source(self) -> str:
        """``simulated``."""
        return "simulated"

    def catalogue(self) -> Catalogue:
        """Return all pairs, tokens and timeframes. Raises OriginUnavailable."""
        return make_catalogue(self._call())

    def ticker(self, catalogue: Catalogue, pair: Pair) -> Ticker:
        """Return the price of *pair*, and the sums of its trades in the last 24 hours.

        Raises:
            UnknownPair: *pair* is not listed.
            OriginUnavailable: the call failed, as set up, or there was no trade yet.
        """
        listing = _find(pair)
        return self._ticker(listing, self._call())

    def tickers(self, catalogue: Catalogue, pairs: Sequence[Pair]) -> Mapping[Pair, Ticker | OriginError]:
        """Return the ticker of each of *pairs* that is listed, all of one moment, in one call.

        Raises:
            OriginUnavailable: the call failed, as set up.
        """
        now_ms = self._call()
        answer: dict[Pair, Ticker | OriginError] = {}
        for pair in pairs:
            if pair in LISTINGS:
                try:
                    answer[pair] = self._ticker(LISTINGS[pair], now_ms)
                except OriginError as error:
                    answer[pair] = error
        return answer

    def order_book(self, catalogue: Catalogue, pair: Pair, depth: int) -> OrderBook:
        """Return *depth* levels a side (1..500), or all there are. Raises as `ticker`."""
        listing = _find(pair)
        present = self._present(listing, self._call())
        book = self._book(pair)
        return OrderBook(
            pair=pair,
            bids=book.bids(present.last, present.slot, depth).levels(listing),
            asks=book.asks(present.last, present.slot, depth).levels(listing),
            received_at=present.now_ms,
            as_of=present.as_of,
        )

    def trades(self, catalogue: Catalogue, pair: Pair, limit: int) -> Trades:
        """Return the *limit* latest trades (1..500), newest first. Raises as `ticker`."""
        listing = _find(pair)
        present = self._present(listing, self._call())
        newest = self._ledger.newest(pair, present.now_ms, limit)
        return Trades(
            pair=pair,
            trades=newest.to_trades(listing),
            received_at=present.now_ms,
            as_of=present.as_of,
        )

    def candles(self, catalogue: Catalogue, pair: Pair, timeframe: str, since: int, until: int) -> Candles:
        """Return the candles that open in [*since*, *until*) and are not in the future, oldest first.

        Of more than `MAX_CANDLES` the newest are returned, and `covered_since` says from when.

        Args:
            timeframe: one of `shivx.models.TIMEFRAMES`.
            since, until: Unix ms, multiples of the timeframe.
        Raises:
            UnknownPair, OriginUnavailable: as `ticker`.
        """
        listing = _find(pair)
        present = self._present(listing, self._call())
        length_ms = TIMEFRAMES[timeframe]
        end = min(until // length_ms, present.now_ms // length_ms + 1)
        first = max(0, since // length_ms)
        covered_since = since
        if end - first > MAX_CANDLES:
            first = end - MAX_CANDLES
            covered_since = first * length_ms
        return Candles(
            pair=pair,
            timeframe=timeframe,
            candles=self._history.candles(listing, length_ms, first, end, present.now_ms)
            if first < end
            else (),
            covered_since=covered_since,
            received_at=present.now_ms,
            as_of=present.as_of,
        )

    def _call(self) -> int:
        """Let one call take its time, and perhaps fail; return the Unix ms at which its answer is made."""
        if self._latency > 0.0:
            self._sleep(min(self._latency, self._timeout))
        if self._latency > self._timeout:
            raise OriginUnavailable(f"the simulated exchange did not answer within {self._timeout:g} s")
        if self._failure_rate > 0.0 and self._draw() < self._failure_rate:
            raise OriginUnavailable("the simulated exchange failed, as SHIVX_SIMULATED_FAILURE_RATE asks")
        return int(self._now() * 1000)

    def _present(self, listing: Listing, now_ms: int) -> Present:
        newest = self._ledger.newest(listing.pair, now_ms, 1)
        if not len(newest):
            raise OriginUnavailable(f"no trade in {listing.pair} yet")
        slot = now_ms // SLOT_MS
        return Present(now_ms, slot, int(newest.ticks[0]), max(int(newest.at[0]), slot * SLOT_MS))

    def _ticker(self, listing: Listing, now_ms: int) -> Ticker:
        present = self._present(listing, now_ms)
        bid, ask = self._book(listing.pair).touch(present.last, present.slot)
        day = self._history.last_day(listing.pair, now_ms)
        return Ticker(
            pair=listing.pair,
            price=listing.price(present.last),
            received_at=now_ms,
            as_of=present.as_of,
            bid=listing.price(bid),
            ask=listing.price(ask),
            high_24h=listing.price(day.high) if day else None,
            low_24h=listing.price(day.low) if day else None,
            volume_24h=listing.amount(day.volume if day else 0),
            quote_volume_24h=digits(
                day.turnover if day else 0, listing.price_decimals + listing.amount_decimals
            ),
            change_24h_percent=100 * (present.last - day.first) / day.first if day else None,
        )


def _find(pair: Pair) -> Listing:
    try:
        return LISTINGS[pair]
    except KeyError:
        raise UnknownPair(f"{pair} is not traded on the simulated exchange") from None
