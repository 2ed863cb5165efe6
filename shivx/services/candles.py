"""Candles of any range, read from stored pages that all ranges share.

What closed is kept by page (`series`), for as long as closed candles are; the page that is still growing,
until its next candle closes. What may still change, the *forming* part from the open candle on, lives no
longer than a price. So `limit`, `since` and `until` choose among stored pages, and the origin sees each page
once per lifetime.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cache_ext import TieredCache
from shivx.errors import NotComputable, OriginError
from shivx.models import TIMEFRAMES, Candles, Catalogue, Pair
from shivx.services.aggregation import base_of
from shivx.services.answer import Answer
from shivx.services.market import MarketService
from shivx.services.pages import Ask, Pages, Question, join
from shivx.services.policies import Policies
from shivx.services.series import Moment, Series, Span, moment_of


@dataclass(frozen=True, slots=True)
class CandleList:
    """Candles as an answer.

    Args:
        candles: oldest first.
        open_candle: whether the last one may still change.
        complete: whether all that was asked for is here, but for what is yet to come.
    """

    candles: Candles
    open_candle: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest closed candles of several pairs.

    Args:
        candles: of each pair, in the order in which they were asked for.
        since, until: open times of the first and behind the last, Unix ms.
        seconds_left: until there are later ones to be looked at.
    """

    candles: tuple[Candles, ...]
    since: int
    until: int
    seconds_left: float


class CandleService:
    """Answers questions about candles.

    Args:
        cache: where pages are kept.
        market: knows sources and pairs.
        policies: how long each kind is kept.
        now: Unix seconds; tells which candle is open, so hosts keep their clocks right (NTP).
    """

    def __init__(
        self,
        cache: TieredCache,
        market: MarketService,
        policies: Policies,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._market = market
        self._policies = policies
        self._patient = policies.patient
        self._now = now
        self._pages = Pages(cache, market, policies, self.now_ms)

    def now_ms(self) -> int:
        """Return the time by which candles close, Unix ms."""
        return int(self._now() * 1000)

    def closed_until(self, timeframe: str) -> int:
        """Return the open time, Unix ms, of the first candle that may still change."""
        return self.moment(timeframe).cut

    def moment(self, timeframe: str) -> Moment:
        """Return this moment as candles of *timeframe* see it."""
        return moment_of(TIMEFRAMES[timeframe], self.now_ms())

    def timeframes(self, catalogue: Catalogue) -> tuple[str, ...]:
        """Return the timeframes that can be had, aggregated ones included."""
        return tuple(name for name in TIMEFRAMES if base_of(name, catalogue.timeframes))

    def candles(
        self,
        source: str,
        pair: Pair,
        timeframe: str,
        since: int,
        until: int,
        *,
        closed: bool,
        fresh: bool = False,
        catalogue: Answer[Catalogue] | None = None,
    ) -> Answer[CandleList]:
        """Return the candles that open in [*since*, *until*), oldest first.

        Args:
            since, until: Unix ms.
            closed: leave out what may still change.
            fresh: wait for the origin rather than be served past the ttl meanwhile.
            catalogue: which has *pair*; if a loader reads it instead, what is loaded ends with it.
        Raises:
            UnknownSource, UnknownPair: there is none of that name.
            NotComputable: the source has nothing that *timeframe* could be made from.
            OriginError: the origin gave nothing and nothing may be served instead.
        """
        if catalogue is None:
            catalogue = self._market.listed(source, pair)
        if base_of(timeframe, catalogue.fact.timeframes) is None:
            raise NotComputable(f"{source} has nothing to make {timeframe} candles from")
        series = Series(source, pair, timeframe)
        span, moment = series.span(since, until), series.at(self.now_ms())
        policies = self._patient if fresh else self._policies
        try:
            found = self._read(
                series, span, moment, policies, self._pages.from_origin(catalogue.fact), closed=closed
            )
        except OriginError as error:
            found = self._as_before(series, span, moment, error, closed=closed)
        return found.after(catalogue)

    def latest(
        self, catalogue: Catalogue, source: str, pairs: Sequence[Pair], timeframe: str, count: int, step: int
    ) -> Latest:
        """Return the last *count* closed candles of each of *pairs*, read together.

        Args:
            catalogue: of *source*; it has *pairs*, and something to make *timeframe* from.
            step: they end at a multiple of so many ms, and so are the same ones for that long.
        Raises:
            OriginError: the origin gave nothing of one of them.
        """
        every = [Series(source, pair, timeframe) for pair in pairs]
        moment = every[0].at(self.now_ms(), step)
        span = every[0].span(max(0, moment.cut - count * every[0].length), moment.cut)
        asked = [(series, span) for series in every]
        ask = self._pages.from_origin(catalogue, step)
        read = self._pages.read(asked, moment, self._patient, ask, closed=True)
        candles = [join(series, span, parts, moment.now) for series, parts in zip(every, read, strict=True)]
        return Latest(tuple(candles), span.start, span.end, moment.seconds_left)

    def _read(
        self, series: Series, span: Span, moment: Moment, policies: Policies, ask: Ask, *, closed: bool
    ) -> Answer[CandleList]:
        (parts,) = self._pages.read([(series, span)], moment, policies, ask, closed=closed)
        whole = join(series, span, parts, moment.now)
        last = whole.candles[-1][0] if whole.candles else None
        found = CandleList(
            whole,
            open_candle=last is not None and last >= moment.cut,
            complete=whole.covered_since <= span.start,
        )
        answer = Answer.of(found, [part for _, part in parts])
        if span.end < moment.cut:
            return answer
        left = moment.seconds_left
        return answer.within(left if closed else min(left, policies.forming_candles.ttl))

    def _as_before(
        self, series: Series, span: Span, moment: Moment, error: OriginError, *, closed: bool
    ) -> Answer[CandleList]:
        """Return what was known before the last candle closed, marked stale, since the origin fails now.

        Raises:
            OriginError: *error*, if not even that may be served.
        """

        def refuse(questions: Sequence[Question]) -> Sequence[Candles | Exception]:
            raise error

        earlier = series.at(moment.now - series.length)
        closed = closed or span.end <= moment.cut
        found = self._read(series, span, earlier, self._patient, refuse, closed=closed).outdated()
        complete = found.fact.complete and span.end <= earlier.cut
        return Answer(
            CandleList(found.fact.candles, found.fact.open_candle, complete),
            found.outcome,
            found.age,
            found.ttl_left,
        )
