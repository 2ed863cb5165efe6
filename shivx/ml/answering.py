"""From probabilities to predictions: of one model, and of the ensemble of all."""

from __future__ import annotations

from msgspec.structs import replace

from shivx.ml.kinds import ENSEMBLE
from shivx.ml.manifest import Manifest
from shivx.ml.values import Features, Prediction
from shivx.models import Pair

PARTS = ("direction", "volatility")
"""What the ensemble is made of."""
WILD = "wild"


def predicted(pair: Pair, manifest: Manifest, probabilities: list[float], features: Features) -> Prediction:
    """Return what a model with this *manifest* says of *pair*, of which it was told *features*.

    The class of the highest probability is predicted; the expected move is the mean of the moves that went
    with each class in training, weighted with the probabilities.
    """
    named = dict(zip(manifest.classes, probabilities, strict=True))
    best = max(named, key=named.__getitem__)
    return Prediction(
        pair=pair,
        model=manifest.name,
        version=manifest.version,
        prediction=best,
        confidence=named[best],
        probabilities=named,
        expected_move_percent=sum(p * move for p, move in zip(probabilities, manifest.moves, strict=True)),
        horizon_seconds=manifest.horizon_seconds,
        beats_naive=manifest.beats_naive,
        until=features.until,
        received_at=features.received_at,
        as_of=features.as_of,
    )


def combined(direction: Prediction, volatility: Prediction) -> Prediction:
    """Return the ensemble: what *direction* says, with less confidence the likelier a wild market is.

    ``confidence = confidence of direction x (1 - probability of wild)``; all else is of *direction*, and the
    older of both ends it. It beats a naive forecast only if both do.
    """
    moments = [each.as_of for each in (direction, volatility) if each.as_of is not None]
    return replace(
        direction,
        model=ENSEMBLE,
        version=f"{direction.version}+{volatility.version}",
        confidence=direction.confidence * (1 - volatility.probabilities[WILD]),
        beats_naive=direction.beats_naive and volatility.beats_naive,
        until=min(direction.until, volatility.until),
        received_at=min(direction.received_at, volatility.received_at),
        as_of=min(moments, default=None),
    )
