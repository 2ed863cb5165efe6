"""The newest features of pairs, as models are told them, each kept on its own."""

from __future__ import annotations

import math

from cache_ext import Loaded, TieredCache
from shivx.accounts.offload import off_hub
from shivx.errors import NotComputable, OriginUnavailable
from shivx.ml.features import FEATURES_VERSION, HISTORY, LENGTH, TIMEFRAME, vector
from shivx.ml.values import Features
from shivx.models import Catalogue, Pair
from shivx.names import candles_tag, features_key, pair_tag
from shivx.services.aggregation import base_of
from shivx.services.answer import Answer
from shivx.services.candles import CandleService
from shivx.services.facts import Facts
from shivx.services.policies import Policies


class FeatureService:
    """Makes features of closed candles.

    Args:
        cache: where they are kept.
        candles: what they are made of.
        policies: how long they are kept.
    """

    def __init__(self, cache: TieredCache, candles: CandleService, policies: Policies) -> None:
        self._facts = Facts(cache)
        self._candles = candles
        self._policies = policies

    def tags(self, catalogue: Catalogue, source: str, pair: Pair) -> list[str]:
        """Return the tags of all that the features of *pair* are made of.

        Raises:
            NotComputable: *source* has no such candles.
        """
        base = base_of(TIMEFRAME, catalogue.timeframes)
        if base is None:
            raise NotComputable(f"{source} has nothing to make {TIMEFRAME} candles from")
        series = dict.fromkeys((TIMEFRAME, base))
        return [pair_tag(source, pair), *(candles_tag(source, pair, each) for each in series)]

    def of(self, catalogue: Answer[Catalogue], source: str, pair: Pair) -> Answer[Features]:
        """Return the features of *pair*, which *catalogue* has.

        Raises:
            NotComputable: there are too few candles.
            OriginError: the origin gave nothing.
        """
        fetched = self._facts.one(
            features_key(source, pair, FEATURES_VERSION),
            Features,
            lambda: self._made(catalogue, source, pair),
            policy=self._policies.features,
            tags=self.tags(catalogue.fact, source, pair),
        )
        return Answer.of(fetched.value, [fetched])

    def _made(self, catalogue: Answer[Catalogue], source: str, pair: Pair) -> Loaded:
        moment = self._candles.moment(TIMEFRAME)
        since = max(0, moment.cut - HISTORY * LENGTH)
        found = self._candles.candles(
            source, pair, TIMEFRAME, since, moment.cut, closed=True, fresh=True, catalogue=catalogue
        )
        if found.stale:
            raise OriginUnavailable(f"{source} gives no newer candles of {pair}")
        candles = found.fact.candles
        row = off_hub(lambda: vector(candles.candles)) if candles.candles else [math.nan]
        if all(math.isnan(value) for value in row):
            raise NotComputable(f"{source} has too few candles of {pair}")
        made = Features(tuple(row), candles.candles[-1][0] + LENGTH, candles.received_at, candles.as_of)
        ttl = self._policies.features.ttl
        if moment.seconds_left >= ttl:
            return Loaded(made)
        return Loaded(made, ttl=max(0.0, moment.seconds_left), early_refresh=False)
