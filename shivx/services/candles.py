"""Candles of any range, read from stored pages that all ranges share.

What closed is kept by page (`series`), for as long as closed candles are; the page that is still growing,
until its next candle closes. What may still change, the *forming* part from the open candle on, lives no
longer than a price. So `limit`, `since` and `until` choose among stored pages, and the origin sees each page
once per lifetime.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from cache_ext import Fetched, Loaded, TieredCache
from shivx.errors import NotComputable
from shivx.models import TIMEFRAMES, Candle, Candles, Catalogue, Pair
from shivx.names import pair_tag
from shivx.services.aggregation import aggregate, base_of
from shivx.services.answer import Answer, fact_of
from shivx.services.market import MarketService
from shivx.services.policies import Policies
from shivx.services.series import Series, Span

SETTLE_MS = 1_000
"""A candle counts as closed so long after its end: trades of its last moment may still come in."""


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
        self._cache = cache
        self._market = market
        self._policies = policies
        self._now = now

    def now_ms(self) -> int:
        """Return the time by which candles close, Unix ms."""
        return int(self._now() * 1000)

    def closed_until(self, timeframe: str) -> int:
        """Return the open time, Unix ms, of the first candle that may still change."""
        length = TIMEFRAMES[timeframe]
        return (self.now_ms() - SETTLE_MS) // length * length

    def timeframes(self, catalogue: Catalogue) -> tuple[str, ...]:
        """Return the timeframes that can be had, aggregated ones included."""
        return tuple(name for name in TIMEFRAMES if base_of(name, catalogue.timeframes))

    def candles(
        self, source: str, pair: Pair, timeframe: str, since: int, until: int, *, closed: bool
    ) -> Answer[Candles]:
        """Return the candles that open in [*since*, *until*), oldest first.

        Args:
            since, until: Unix ms.
            closed: leave out what may still change.
        Raises:
            UnknownSource, UnknownPair: there is none of that name.
            NotComputable: the source has nothing that *timeframe* could be made from.
            OriginError: the origin gave nothing and nothing may be served instead.
        """
        catalogue = self._market.listed(source, pair)
        series = Series(source, pair, timeframe)
        span = Span(_ceil(since, series.length), _ceil(until, series.length))
        parts = self._read(series, span, catalogue.fact, closed=closed)
        return Answer.of(_joined(series, span, _facts(parts), self.now_ms()), [part for _, part in parts])

    def _read(
        self, series: Series, span: Span, catalogue: Catalogue, *, closed: bool
    ) -> list[tuple[Span, Fetched]]:
        """Return the pages, and the forming part if it is wanted, that cover *span*, oldest first."""
        cut = self.closed_until(series.timeframe)
        finished = series.finished_pages(span, cut)
        growing = series.growing_page(span, cut)
        forming = series.forming(cut, self.now_ms()) if not closed and span.end > cut else {}

        def load_finished(keys: Sequence[str]) -> Mapping[str, Candles]:
            return self._load(series, catalogue, {key: finished[key] for key in keys})

        def load_changing(keys: Sequence[str]) -> Mapping[str, Candles | Loaded]:
            wanted = {key: part for key, part in (growing | forming).items() if key in keys}
            found = self._load(series, catalogue, wanted)
            return {
                key: self._until_next_close(page, cut) if key in growing else page
                for key, page in found.items()
            }

        policies, tag = self._policies, series.tag
        closed_parts = self._cache.fetch_many(
            finished, load_finished, policy=policies.closed_candles, tags_for=lambda _: [tag]
        )
        pair = pair_tag(series.source, series.pair)
        changing_parts = self._cache.fetch_many(
            growing | forming,
            load_changing,
            policy=policies.forming_candles,
            tags_for=lambda key: [tag, pair] if key in forming else [tag],
        )
        spans = finished | growing | forming
        return [(spans[key], _fetched(part)) for key, part in (closed_parts | changing_parts).items()]

    def _until_next_close(self, page: Candles, cut: int) -> Loaded:
        """Return the growing *page* with the time it has until the candle at *cut* is closed."""
        closes = cut + TIMEFRAMES[page.timeframe] + SETTLE_MS
        left = (closes - self.now_ms()) / 1000
        return Loaded(page, ttl=max(0.0, min(left, self._policies.closed_candles.ttl)), early_refresh=False)

    def _load(self, series: Series, catalogue: Catalogue, parts: Mapping[str, Span]) -> dict[str, Candles]:
        """Return each of *parts*, oldest first, adjoining ones in one question to the origin."""
        found: dict[str, Candles] = {}
        for run in _runs(list(parts.items())):
            span = Span(run[0][1].start, run[-1][1].end)
            whole = self._ask(series, catalogue, span)
            found |= {key: _joined(series, part, [(span, whole)], whole.received_at) for key, part in run}
        return found

    def _ask(self, series: Series, catalogue: Catalogue, span: Span) -> Candles:
        """Return the candles of *span* from the origin, or made from smaller ones in the cache."""
        base = base_of(series.timeframe, catalogue.timeframes)
        if base is None:
            raise NotComputable(f"{series.source} has nothing to make {series.timeframe} candles from")
        if base != series.timeframe:
            smaller = Series(series.source, series.pair, base)
            pages = self._read(smaller, span, catalogue, closed=False)
            whole = _joined(smaller, span, _facts(pages), self.now_ms())
            return replace(
                whole, timeframe=series.timeframe, candles=aggregate(whole.candles, series.timeframe)
            )
        if catalogue.max_history is not None:
            oldest = (self.now_ms() // series.length - catalogue.max_history) * series.length
            if span.end <= oldest:
                return Candles(series.pair, series.timeframe, (), span.end, self.now_ms())
        provider = self._market.provider(series.source)
        return provider.candles(catalogue, series.pair, series.timeframe, span.start, span.end)


def _fetched(part: Fetched | Exception) -> Fetched:
    if isinstance(part, Exception):
        raise part
    return part


def _runs(parts: Sequence[tuple[str, Span]]) -> list[list[tuple[str, Span]]]:
    """Return *parts*, in order, grouped so that each group has no hole in it."""
    runs: list[list[tuple[str, Span]]] = []
    for part in parts:
        if runs and runs[-1][-1][1].end == part[1].start:
            runs[-1].append(part)
        else:
            runs.append([part])
    return runs


def _facts(parts: Sequence[tuple[Span, Fetched]]) -> list[tuple[Span, Candles]]:
    return [(span, fact_of(part, Candles)) for span, part in parts]


def _joined(series: Series, span: Span, pages: Sequence[tuple[Span, Candles]], now: int) -> Candles:
    """Return what *pages*, oldest first, have of *span*; known only as far back as all of them know."""
    candles: list[Candle] = []
    covered = span.start
    for part, page in pages:
        candles += (candle for candle in page.candles if span.start <= candle[0] < span.end)
        if page.covered_since > max(part.start, span.start):
            covered = min(page.covered_since, span.end)
    moments = [page.as_of for _, page in pages if page.as_of is not None]
    return Candles(
        pair=series.pair,
        timeframe=series.timeframe,
        candles=tuple(candles),
        covered_since=covered,
        received_at=min((page.received_at for _, page in pages), default=now),
        as_of=min(moments, default=None),
    )


def _ceil(moment: int, step: int) -> int:
    return -(-moment // step) * step
