"""Predictions, made once per lifetime for the whole fleet, by the version of a model that is active."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from typing import NamedTuple

from prometheus_client import Counter

from cache_ext import Fetched, Loaded, TieredCache
from cache_ext.reading.frames import apart
from shivx.accounts.offload import off_hub
from shivx.errors import ModelUnavailable, UnknownModel, UnknownPair
from shivx.ml.answering import PARTS, combined, predicted
from shivx.ml.kinds import ENSEMBLE, MODELS
from shivx.ml.manifest import DamagedModel
from shivx.ml.sessions import Sessions
from shivx.ml.values import Features, Prediction
from shivx.models import Catalogue, Pair
from shivx.names import model_tag, prediction_key, serving_key
from shivx.services.answer import Answer
from shivx.services.facts import Facts
from shivx.services.features import FeatureService
from shivx.services.market import MarketService
from shivx.services.policies import Policies
from shivx.services.together import at_once

DEFAULT = "direction"
Found = Answer[Prediction] | Exception
_answered = Counter(
    "ml_predictions",
    "Predictions answered, by model and outcome (hit, miss, stale, error).",
    ("model", "outcome"),
)


class _Asked(NamedTuple):
    pair: Pair
    model: str


class PredictionService:
    """Answers what models say of pairs.

    Args:
        cache: where predictions are kept.
        market: knows sources and pairs.
        features: what models are told.
        sessions: the models.
        policies: how long all of it is kept.
    """

    def __init__(
        self,
        cache: TieredCache,
        market: MarketService,
        features: FeatureService,
        sessions: Sessions,
        policies: Policies,
    ) -> None:
        self._facts = Facts(cache)
        self._market = market
        self._features = features
        self._policies = policies
        self.sessions = sessions

    def version(self, model: str) -> str:
        """Return the version of *model* that answers: one fact for all processes, until it is retrained.

        Raises:
            ModelUnavailable: there is none yet.
        """
        return self._serving(model).fact

    def predictions(self, source: str, pairs: Sequence[Pair], model: str) -> dict[Pair, Found]:
        """Return what *model* says of each of *pairs*, or why it says nothing.

        If all are cached, that is one round trip to Redis; those that are not are one call of each model.

        Raises:
            UnknownSource, UnknownModel: there is none of that name.
            ModelUnavailable: the model has no version that could answer yet.
            OriginError: the origin does not say what it trades.
        """
        if model != ENSEMBLE and model not in MODELS:
            raise UnknownModel(f"there is no model {model!r}; {', '.join((*MODELS, ENSEMBLE))}")
        catalogue = self._market.catalogue(source)
        parts = PARTS if model == ENSEMBLE else (model,)
        listed = [pair for pair in pairs if pair in catalogue.fact.markets]
        kept = self._kept(catalogue, source, [_Asked(pair, part) for part in parts for pair in listed])
        found: dict[Pair, Found] = {}
        for pair in pairs:
            if pair not in catalogue.fact.markets:
                found[pair] = UnknownPair(f"{source} does not trade {pair}")
            else:
                found[pair] = _whole([kept[_Asked(pair, part)] for part in parts], catalogue)
        for each in found.values():
            _answered.labels(model, each.outcome if isinstance(each, Answer) else "error").inc()
        return found

    def _serving(self, model: str) -> Answer[str]:
        fetched = self._facts.one(
            serving_key(model),
            str,
            lambda: self.sessions.serving(model),
            policy=self._policies.serving_model,
            tags=[model_tag(model)],
        )
        return Answer.of(fetched.value, [fetched])

    def _kept(
        self, catalogue: Answer[Catalogue], source: str, asked: Sequence[_Asked]
    ) -> Mapping[_Asked, Fetched | Exception]:
        versions = {model: self.version(model) for model in dict.fromkeys(each.model for each in asked)}
        by_key = {prediction_key(source, each.pair, each.model, versions[each.model]): each for each in asked}
        tags = {each.pair: self._features.tags(catalogue.fact, source, each.pair) for each in asked}

        def load(keys: Sequence[str]) -> Mapping[str, Loaded | Exception]:
            made = self._made(catalogue, source, [by_key[key] for key in keys])
            return {key: made[by_key[key]] for key in keys}

        found = self._facts.many(
            by_key,
            Prediction,
            load,
            policy=self._policies.predictions,
            tags_for=lambda key: [model_tag(by_key[key].model), *tags[by_key[key].pair]],
        )
        return {by_key[key]: each for key, each in found.items()}

    def _made(
        self, catalogue: Answer[Catalogue], source: str, asked: Sequence[_Asked]
    ) -> dict[_Asked, Loaded | Exception]:
        """Ask each model once, in the version that is active now: that of the keys may be a moment older."""
        pairs = list(dict.fromkeys(each.pair for each in asked))
        questions: list[Callable[[], Answer[Features] | Exception]] = [
            partial(copy_context().run, self._told, catalogue, source, pair) for pair in pairs
        ]
        told = dict(zip(pairs, at_once(questions), strict=True))
        made: dict[_Asked, Loaded | Exception] = {}
        for model in dict.fromkeys(each.model for each in asked):
            mine = [each for each in asked if each.model == model]
            with apart():
                version = self.version(model)
            made |= zip(mine, self._say(model, version, mine, told), strict=True)
        return made

    def _told(self, catalogue: Answer[Catalogue], source: str, pair: Pair) -> Answer[Features] | Exception:
        with apart():
            return self._features.of(catalogue, source, pair)

    def _say(
        self,
        model: str,
        version: str,
        asked: Iterable[_Asked],
        told: Mapping[Pair, Answer[Features] | Exception],
    ) -> list[Loaded | Exception]:
        rows = {each.pair: found for each in asked if isinstance(found := told[each.pair], Answer)}
        opened = self.sessions.opened(model, version)
        try:
            answers = off_hub(
                lambda: opened.predict([each.fact.row for each in rows.values()]) if rows else []
            )
        except DamagedModel as error:
            raise ModelUnavailable(f"the model {model} cannot be used: {error}") from None
        said = dict(zip(rows, answers, strict=True))
        ttl = self._policies.predictions.ttl
        return [
            Loaded(
                predicted(each.pair, opened.manifest, said[each.pair], found.fact),
                ttl=min(ttl, max(0.0, found.ttl_left)),
            )
            if isinstance(found := told[each.pair], Answer)
            else found
            for each in asked
        ]


def _whole(parts: Sequence[Fetched | Exception], catalogue: Answer[Catalogue]) -> Found:
    """Return the prediction of a model, or of the ensemble of several."""
    for part in parts:
        if isinstance(part, Exception):
            return part
    kept = [part for part in parts if isinstance(part, Fetched)]
    values = [part.value for part in kept]
    fact = values[0] if len(values) == 1 else combined(*values)
    return Answer.of(fact, kept).after(catalogue)
