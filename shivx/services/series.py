"""How a series of candles is cut into stored pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shivx.models import TIMEFRAMES, Pair
from shivx.names import candles_tag, forming_key, page_key

PAGE = 300
"""Candles per page: what the meanest exchange gives in one call."""


class Span(NamedTuple):
    """Open times from `start` on and before `end`, Unix ms, multiples of the timeframe."""

    start: int
    end: int


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

    def forming(self, cut: int, now: int) -> dict[str, Span]:
        """Return what may still change at *now*, from *cut* on, by its key."""
        key = forming_key(self.source, self.pair, self.timeframe, cut)
        return {key: Span(cut, now // self.length * self.length + self.length)}

    def _key(self, page: int, cut: int | None) -> str:
        return page_key(self.source, self.pair, self.timeframe, page, cut)
