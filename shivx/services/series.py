"""How a series of candles is cut into stored pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shivx.models import TIMEFRAMES, Pair
from shivx.names import candles_tag, forming_key, page_key

PAGE = 300
"""Candles per page: what the meanest exchange gives in one call."""
SETTLE_MS = 1_000
"""A candle counts as closed so long after its end: trades of its last moment may still come in."""


class Span(NamedTuple):
    """Open times from `start` on and before `end`, Unix ms, multiples of the timeframe."""

    start: int
    end: int


class Moment(NamedTuple):
    """A moment as some candles see it; Unix ms.

    Args:
        now: the moment.
        cut: the open time of the first candle that may still change at it, or is not looked at yet.
        until: when the cut moves on.
    """

    now: int
    cut: int
    until: int

    @property
    def seconds_left(self) -> float:
        """Seconds until the cut moves on."""
        return (self.until - self.now) / 1000


@dataclass(frozen=True, slots=True)
class Series:
    """The candles of one pair and timeframe at one source."""

    source: str
    pair: Pair
    timeframe: str

    @property
    def length(self) -> int:
        """Length of a candle, ms."""
        return TIMEFRAMES[self.timeframe]

    @property
    def tag(self) -> str:
        """The tag of all its candles."""
        return candles_tag(self.source, self.pair, self.timeframe)

    def at(self, now: int, step: int = 0) -> Moment:
        """Return the moment *now*, Unix ms, as these candles see it.

        Args:
            step: the cut moves on by so many ms at a time, whole candles; by one candle if that is more.
        """
        return moment_of(max(step, self.length), now)

    def span(self, since: int, until: int) -> Span:
        """Return the candles that open in [*since*, *until*), Unix ms."""
        start = ceil(since, self.length)
        return Span(start, max(start, ceil(until, self.length)))

    def finished_pages(self, span: Span, cut: int) -> dict[str, Span]:
        """Return the pages that cover *span* and end before *cut*, by key, oldest first."""
        reach = PAGE * self.length
        first, last = span.start // reach, min(-(-span.end // reach), cut // reach)
        return {self._key(page, None): Span(page * reach, (page + 1) * reach) for page in range(first, last)}

    def growing_page(self, span: Span, cut: int) -> dict[str, Span]:
        """Return the page that *cut* runs through, up to there, if *span* reaches into it.

        It is named after *cut* as well: when the next candle has closed, it is another page.
        """
        start = cut // (PAGE * self.length) * PAGE * self.length
        if span.start >= cut or span.end <= start or start == cut:
            return {}
        return {self._key(start // (PAGE * self.length), cut): Span(start, cut)}

    def forming(self, moment: Moment) -> dict[str, Span]:
        """Return what may still change at *moment*, by its key."""
        key = forming_key(self.source, self.pair, self.timeframe, moment.cut)
        return {key: Span(moment.cut, moment.now // self.length * self.length + self.length)}

    def _key(self, page: int, cut: int | None) -> str:
        return page_key(self.source, self.pair, self.timeframe, page, cut)


def moment_of(step: int, now: int) -> Moment:
    """Return the moment *now*, Unix ms, as candles of *step* ms see it."""
    cut = (now - SETTLE_MS) // step * step
    return Moment(now, cut, cut + step + SETTLE_MS)


def ceil(moment: int, step: int) -> int:
    """Return the first multiple of *step* that is not before *moment*."""
    return -(-moment // step) * step
