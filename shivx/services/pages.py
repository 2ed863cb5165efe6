"""Pages of candles: read from the cache, loaded from the origin, or from smaller candles, where missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from cache_ext import Fetched, Loaded, TieredCache
from shivx.models import Candle, Candles, Catalogue
from shivx.names import pair_tag
from shivx.services.aggregation import aggregate, base_of
from shivx.services.facts import Facts
from shivx.services.market import MarketService
from shivx.services.policies import Policies
from shivx.services.series import Moment, Series, Span
from shivx.services.together import at_once

Question = tuple[Series, Span]
Ask = Callable[[Sequence[Question]], Sequence[Candles | Exception]]
"""Gets the candles of spans, of series of one timeframe, from where they come from."""
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
        self, questions: Sequence[Question], moment: Moment, policies: Policies, ask: Ask, *, closed: bool
    ) -> list[list[Part]]:
        """Return for each of *questions* the pages of its span, oldest first; all are read together.

        Args:
            questions: of series of one timeframe, no series twice; pages are those of *moment*.
            ask: gets what is missing.
            closed: leave out what may still change, which else comes last.
        Raises:
            Whatever *ask* raises, or returns in place of candles, unless something stale may be served.
        """
        settled, growing, forming = _places(questions, moment, closed=closed)

        def load_settled(keys: Sequence[str]) -> Mapping[str, Candles | Loaded | Exception]:
            pages = _load({key: settled[key] for key in keys}, ask)
            return {
                key: _until_next_close(page, moment, policies) if key in growing else page
                for key, page in pages.items()
            }

        def load_forming(keys: Sequence[str]) -> Mapping[str, Candles | Exception]:
            return _load({key: forming[key] for key in keys}, ask)

        found = self._facts.many(
            settled,
            Candles,
            load_settled,
            policy=policies.closed_candles,
            tags_for=lambda key: [settled[key][0].tag],
        )
        if forming:
            found |= self._facts.many(
                forming,
                Candles,
                load_forming,
                policy=policies.forming_candles,
                tags_for=lambda key: _changing(forming[key][0]),
            )
        return _sorted_out(questions, settled | forming, found)

    def from_origin(self, catalogue: Catalogue, step: int = 0) -> Ask:
        """Return how to get candles of the source of *catalogue*, in whatever timeframe.

        Args:
            step: as `Series.at` takes it, of smaller candles that they may have to be made of.
        """

        def ask(questions: Sequence[Question]) -> Sequence[Candles | Exception]:
            timeframe = questions[0][0].timeframe
            base = base_of(timeframe, catalogue.timeframes)
            if base is None:
                raise AssertionError("the caller sees to it that the timeframe can be had")
            if base != timeframe:
                return self._made_of(base, questions, ask, step)
            return at_once([partial(self._asked, catalogue, series, span) for series, span in questions])

        return ask

    def _asked(self, catalogue: Catalogue, series: Series, span: Span) -> Candles:
        if catalogue.max_history is not None:
            oldest = (self._now_ms() // series.length - catalogue.max_history) * series.length
            if span.end <= oldest:
                return Candles(series.pair, series.timeframe, (), span.end, self._now_ms())
        provider = self._market.provider(series.source)
        return provider.candles(catalogue, series.pair, series.timeframe, span.start, span.end)

    def _made_of(self, base: str, questions: Sequence[Question], ask: Ask, step: int) -> list[Candles]:
        smaller = [(Series(series.source, series.pair, base), span) for series, span in questions]
        moment = smaller[0][0].at(self._now_ms(), step)
        read = self.read(smaller, moment, self._patient, ask, closed=False)
        found = []
        for (series, span), (parted, _), parts in zip(questions, smaller, read, strict=True):
            whole = join(parted, span, parts, moment.now)
            candles = aggregate(whole.candles, series.timeframe)
            found.append(replace(whole, timeframe=series.timeframe, candles=candles))
        return found


def _places(
    questions: Sequence[Question], moment: Moment, *, closed: bool
) -> tuple[dict[str, Question], set[str], dict[str, Question]]:
    """Return by key where closed candles lie, which of these pages grow, and what may still change."""
    settled: dict[str, Question] = {}
    growing: set[str] = set()
    forming: dict[str, Question] = {}
    for series, span in questions:
        if span.start >= span.end:
            continue
        grows = series.growing_page(span, moment.cut)
        growing |= grows.keys()
        pages = series.finished_pages(span, moment.cut) | grows
        settled |= {key: (series, page) for key, page in pages.items()}
        if not closed and span.end > moment.cut:
            forming |= {key: (series, part) for key, part in series.forming(moment).items()}
    return settled, growing, forming


def _changing(series: Series) -> list[str]:
    """Return the tags of what may still change."""
    return [series.tag, pair_tag(series.source, series.pair)]


def _until_next_close(page: Candles | Exception, moment: Moment, policies: Policies) -> Loaded | Exception:
    """Return the growing *page* with the time it has from *moment* until more candles are closed."""
    if isinstance(page, Exception):
        return page
    return Loaded(page, ttl=min(moment.seconds_left, policies.closed_candles.ttl), early_refresh=False)


def _sorted_out(
    questions: Sequence[Question], places: Mapping[str, Question], found: Mapping[str, Fetched | Exception]
) -> list[list[Part]]:
    """Return the parts of each of *questions*, in their order in *places*."""
    parts: dict[Series, list[Part]] = {series: [] for series, _ in questions}
    for key, (series, span) in places.items():
        parts[series].append((span, _fetched(found[key])))
    return [parts[series] for series, _ in questions]


def join(series: Series, span: Span, parts: Sequence[Part], now: int) -> Candles:
    """Return what *parts*, oldest first, have of *span*; known only as far back as all of them know."""
    return _joined(series, span, [(part, fetched.value) for part, fetched in parts], now)


def _fetched(part: Fetched | Exception) -> Fetched:
    if isinstance(part, Exception):
        raise part
    return part


def _load(parts: Mapping[str, Question], ask: Ask) -> dict[str, Candles | Exception]:
    """Return each of *parts*, oldest first in its series, adjoining ones in one question."""
    runs = _runs(list(parts.items()))
    asked = [(run[0][1][0], Span(run[0][1][1].start, run[-1][1][1].end)) for run in runs]
    found: dict[str, Candles | Exception] = {}
    for run, (_, span), whole in zip(runs, asked, ask(asked), strict=True):
        for key, (series, part) in run:
            if isinstance(whole, Exception):
                found[key] = whole
            else:
                found[key] = _joined(series, part, [(span, whole)], whole.received_at)
    return found


def _runs(parts: Sequence[tuple[str, Question]]) -> list[list[tuple[str, Question]]]:
    """Return *parts*, in order, grouped so that each group is of one series and has no hole in it."""
    runs: list[list[tuple[str, Question]]] = []
    for key, (series, span) in parts:
        before = runs[-1][-1][1] if runs else None
        if before is not None and before[0] == series and before[1].end == span.start:
            runs[-1].append((key, (series, span)))
        else:
            runs.append([(key, (series, span))])
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
