"""Pages of candles: read from the cache, loaded from the origin, or from smaller candles, where missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from cache_ext import Fetched, Loaded, TieredCache
from shivx.models import Candle, Candles, Catalogue
from shivx.names import pair_tag
from shivx.services.aggregation import aggregate, base_of
from shivx.services.facts import Facts
from shivx.services.market import MarketService
from shivx.services.policies import Policies
from shivx.services.series import SETTLE_MS, Moment, Series, Span

Ask = Callable[[Series, Span], Candles]
"""Gets the candles of a span from where they come from."""
Part = tuple[Span, Fetched]
"""A page, or the forming part, and where it lies."""


class Pages:
    """Reads pages of candles.

    Args:
        cache: where they are kept.
        market: knows the providers.
        policies: how long each kind is kept.
        now_ms: Unix ms.
    """

    def __init__(
        self, cache: TieredCache, market: MarketService, policies: Policies, now_ms: Callable[[], int]
    ) -> None:
        self._facts = Facts(cache)
        self._market = market
        self._patient = policies.patient
        self._now_ms = now_ms

    def read(
        self, series: Series, span: Span, moment: Moment, policies: Policies, ask: Ask, *, closed: bool
    ) -> list[Part]:
        """Return the pages that cover *span* at *moment*, oldest first; last what may still change.

        Args:
            ask: gets what is missing.
            closed: leave out what may still change.
        Raises:
            Whatever *ask* raises, unless something stale may be served instead.
        """
        if span.start >= span.end:
            return []
        growing = series.growing_page(span, moment.cut)
        settled = series.finished_pages(span, moment.cut) | growing
        forming = series.forming(moment) if not closed and span.end > moment.cut else {}

        def load_settled(keys: Sequence[str]) -> Mapping[str, Candles | Loaded]:
            pages = _load(series, {key: settled[key] for key in keys}, ask)
            return {
                key: _until_next_close(series, page, moment, policies) if key in growing else page
                for key, page in pages.items()
            }

        def load_forming(keys: Sequence[str]) -> Mapping[str, Candles]:
            return _load(series, {key: forming[key] for key in keys}, ask)

        found = self._facts.many(
            settled, Candles, load_settled, policy=policies.closed_candles, tags_for=lambda _: [series.tag]
        )
        if forming:
            tags = [series.tag, pair_tag(series.source, series.pair)]
            found |= self._facts.many(
                forming, Candles, load_forming, policy=policies.forming_candles, tags_for=lambda _: tags
            )
        spans = settled | forming
        return [(spans[key], _fetched(part)) for key, part in found.items()]

    def from_origin(self, catalogue: Catalogue) -> Ask:
        """Return how to get candles of the source of *catalogue*, in whatever timeframe."""

        def ask(series: Series, span: Span) -> Candles:
            base = base_of(series.timeframe, catalogue.timeframes)
            if base is None:
                raise AssertionError("the caller sees to it that the timeframe can be had")
            if base != series.timeframe:
                return self._made_of(Series(series.source, series.pair, base), series.timeframe, span, ask)
            if catalogue.max_history is not None:
                oldest = (self._now_ms() // series.length - catalogue.max_history) * series.length
                if span.end <= oldest:
                    return Candles(series.pair, series.timeframe, (), span.end, self._now_ms())
            provider = self._market.provider(series.source)
            return provider.candles(catalogue, series.pair, series.timeframe, span.start, span.end)

        return ask

    def _made_of(self, smaller: Series, timeframe: str, span: Span, ask: Ask) -> Candles:
        moment = smaller.at(self._now_ms())
        parts = self.read(smaller, span, moment, self._patient, ask, closed=False)
        whole = join(smaller, span, parts, moment.now)
        return replace(whole, timeframe=timeframe, candles=aggregate(whole.candles, timeframe))


def seconds_to_close(series: Series, moment: Moment) -> float:
    """Return the seconds from *moment* until the next candle counts as closed."""
    return (moment.cut + series.length + SETTLE_MS - moment.now) / 1000


def _until_next_close(series: Series, page: Candles, moment: Moment, policies: Policies) -> Loaded:
    """Return the growing *page* with the time it has from *moment* until the next candle is closed."""
    left = min(seconds_to_close(series, moment), policies.closed_candles.ttl)
    return Loaded(page, ttl=left, early_refresh=False)


def join(series: Series, span: Span, parts: Sequence[Part], now: int) -> Candles:
    """Return what *parts*, oldest first, have of *span*; known only as far back as all of them know."""
    return _joined(series, span, [(part, fetched.value) for part, fetched in parts], now)


def _fetched(part: Fetched | Exception) -> Fetched:
    if isinstance(part, Exception):
        raise part
    return part


def _load(series: Series, parts: Mapping[str, Span], ask: Ask) -> dict[str, Candles]:
    """Return each of *parts*, oldest first, adjoining ones in one question."""
    found: dict[str, Candles] = {}
    for run in _runs(list(parts.items())):
        span = Span(run[0][1].start, run[-1][1].end)
        whole = ask(series, span)
        found |= {key: _joined(series, part, [(span, whole)], whole.received_at) for key, part in run}
    return found


def _runs(parts: Sequence[tuple[str, Span]]) -> list[list[tuple[str, Span]]]:
    """Return *parts*, in order, grouped so that each group has no hole in it."""
    runs: list[list[tuple[str, Span]]] = []
    for part in parts:
        if runs and runs[-1][-1][1].end == part[1].start:
            runs[-1].append(part)
        else:
            runs.append([part])
    return runs


def _joined(series: Series, span: Span, pages: Sequence[tuple[Span, Candles]], now: int) -> Candles:
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
