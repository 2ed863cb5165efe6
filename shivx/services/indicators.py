"""Indicators and correlations, computed once per lifetime for the whole fleet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import TypeVar

from cache_ext import Fetched, Loaded, TieredCache
from shivx.accounts.offload import off_hub
from shivx.errors import NotComputable
from shivx.indicators.computing import compute
from shivx.indicators.correlation import correlate, log_returns
from shivx.indicators.prices import Prices
from shivx.indicators.readings import read
from shivx.indicators.settling import is_settled
from shivx.indicators.specs import Spec
from shivx.indicators.values import Computed, Correlations
from shivx.models import TIMEFRAMES, Candles, Catalogue, Pair
from shivx.names import candles_tag, correlation_key, indicator_key, pair_tag
from shivx.services.aggregation import base_of
from shivx.services.answer import Answer
from shivx.services.candles import CandleService, Latest
from shivx.services.facts import Facts
from shivx.services.history import SERIES, History, require_computable
from shivx.services.market import MarketService, require_listed
from shivx.services.policies import Policies

DIGEST_BYTES = 16
CORRELATED_UNTIL = TIMEFRAMES["1h"]
"""Correlations are of candles up to a multiple of so many ms: all who ask in between are told the same."""
T = TypeVar("T", bound=Computed | Correlations)


class IndicatorService:
    """Answers questions about indicators.

    Raises (all methods): as `CandleService.candles`.

    Args:
        cache: where values are kept.
        market: knows sources and pairs.
        candles: what they are made of.
        policies: how long they are kept.
    """

    def __init__(
        self, cache: TieredCache, market: MarketService, candles: CandleService, policies: Policies
    ) -> None:
        self._facts = Facts(cache)
        self._market = market
        self._candles = candles
        self._policies = policies

    def indicators(
        self,
        source: str,
        pair: Pair,
        timeframe: str,
        specs: Collection[Spec],
        *,
        series: bool,
        include_open: bool,
    ) -> Answer[dict[Spec, Computed]]:
        """Return the newest values of *specs*, in one round trip to Redis, from candles that are read once.

        Args:
            series: with up to `SERIES` values each, else the newest alone; both have the same newest one.
            include_open: with the candle that may still change, else closed ones only.
        """
        catalogue = self._market.listed(source, pair)
        tags = [pair_tag(source, pair), *_tags(catalogue.fact, source, pair, timeframe)]
        specs = list(dict.fromkeys(specs))
        by_key = {
            indicator_key(source, pair, timeframe, str(spec), series=series, include_open=include_open): spec
            for spec in specs
        }

        def load(keys: Sequence[str]) -> Mapping[str, Loaded]:
            history = History(self._candles, catalogue, source, pair, timeframe, include_open=include_open)
            asked = [by_key[key] for key in keys]
            off_hub(lambda: require_computable(asked))
            history.read_for(asked)
            over = [history.prices_for(spec) for spec in asked]
            made = off_hub(
                lambda: [
                    _computed(spec, prices, history.candles, SERIES if series else 1)
                    for spec, prices in zip(asked, over, strict=True)
                ]
            )
            ttl = self._policies.indicators.ttl
            return {
                key: _until(each, history.seconds_left, ttl) for key, each in zip(keys, made, strict=True)
            }

        found = self._facts.many(
            by_key, Computed, load, policy=self._policies.indicators, tags_for=lambda _: tags
        )
        parts = {by_key[key]: _fetched(part) for key, part in found.items()}
        values = {spec: parts[spec].value for spec in specs}
        return Answer.of(values, parts.values()).after(catalogue)

    def correlation(
        self, source: str, pairs: Sequence[Pair], timeframe: str, window: int
    ) -> Answer[Correlations]:
        """Return the correlations of the log returns of *pairs* over the last *window* closed candles.

        Of candles shorter than an hour, those count as the last that end with the last full one.
        """
        catalogue = self._market.catalogue(source)
        for pair in pairs:
            require_listed(catalogue.fact, source, pair)
        ordered = sorted(pairs)
        tags = {tag for pair in ordered for tag in _tags(catalogue.fact, source, pair, timeframe)}
        digest = blake2b(",".join(ordered).encode(), digest_size=DIGEST_BYTES).hexdigest()

        def load() -> Loaded:
            latest = self._candles.latest(
                catalogue.fact, source, ordered, timeframe, window + 1, CORRELATED_UNTIL
            )
            made = off_hub(lambda: _correlations(latest, TIMEFRAMES[timeframe]))
            return _until(made, latest.seconds_left, self._policies.correlation.ttl)

        fetched = self._facts.one(
            correlation_key(source, timeframe, window, digest),
            Correlations,
            load,
            policy=self._policies.correlation,
            tags=sorted(tags),
        )
        places = [ordered.index(pair) for pair in pairs]
        return Answer.of(_reordered(fetched.value, places), [fetched]).after(catalogue)


def _tags(catalogue: Catalogue, source: str, pair: Pair, timeframe: str) -> list[str]:
    """Return all tags of what candles of *timeframe* are made of."""
    base = base_of(timeframe, catalogue.timeframes)
    if base is None:
        raise NotComputable(f"{source} has nothing to make {timeframe} candles from")
    series = dict.fromkeys((timeframe, base))
    return [candles_tag(source, pair, each) for each in series]


def _computed(spec: Spec, prices: Prices, candles: Candles, count: int) -> Computed:
    outputs = compute(spec, prices)
    length = TIMEFRAMES[candles.timeframe]
    depends = len(prices) and not is_settled(spec, prices, list(outputs.values()), min(count, len(prices)))
    return Computed(
        times=tuple(prices.times[-count:].tolist()),
        columns=tuple(
            tuple(None if value != value else value for value in (values[-count:] + 0.0).tolist())  # noqa: PLR0124
            for values in outputs.values()
        ),
        reading=read(spec.name, outputs, prices),
        anchored_at=int(prices.times[0]) if depends else None,
        until=int(prices.times[-1]) + length if len(prices) else None,
        received_at=candles.received_at,
        as_of=candles.as_of,
    )


def _until(made: T, seconds_left: float, ttl: float) -> Loaded:
    """Return *made* as lasting until there are later candles, *ttl* at most.

    Its parts may last longer: where a page of candles has just become full, none of them grows.
    """
    if seconds_left >= ttl:
        return Loaded(made)
    return Loaded(made, ttl=max(0.0, seconds_left), early_refresh=False)


def _correlations(latest: Latest, length: int) -> Correlations:
    found = latest.candles
    returns = [log_returns(Prices.of(each.candles), latest.since, latest.until, length) for each in found]
    matrix, counts = correlate(returns)
    newest = [each.candles[-1][0] + length for each in found if each.candles]
    moments = [each.as_of for each in found if each.as_of is not None]
    return Correlations(
        matrix=tuple(map(tuple, matrix)),
        returns=tuple(map(tuple, counts)),
        until=max(newest, default=None),
        received_at=min(each.received_at for each in found),
        as_of=min(moments, default=None),
    )


def _reordered(found: Correlations, places: Sequence[int]) -> Correlations:
    def chosen(rows: Sequence[Sequence[object]]) -> tuple[tuple[object, ...], ...]:
        return tuple(tuple(rows[row][column] for column in places) for row in places)

    return Correlations(
        chosen(found.matrix),  # type: ignore[arg-type]
        chosen(found.returns),  # type: ignore[arg-type]
        found.until,
        found.received_at,
        found.as_of,
    )


def _fetched(part: Fetched | Exception) -> Fetched:
    if isinstance(part, Exception):
        raise part
    return part
