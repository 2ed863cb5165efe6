"""Predictions and the list of models as the JSON that clients get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from shivx.ml.kinds import MODELS
from shivx.ml.manifest import Manifest
from shivx.ml.values import Prediction
from shivx.render import finite, provenance
from shivx.times import format_time


def render_prediction(found: Prediction, *, source: str, stale: bool) -> bytes:
    """Return what a model says of a pair."""
    fields: dict[str, object] = {
        "pair": found.pair,
        "model": found.model,
        "version": found.version,
        "prediction": found.prediction,
        "confidence": finite(found.confidence),
        "probabilities": found.probabilities,
        "expected_move_percent": finite(found.expected_move_percent),
        "horizon_seconds": found.horizon_seconds,
        "beats_naive": found.beats_naive,
        "candles_until": format_time(found.until),
    }
    return msgspec.json.encode(fields | provenance(found, source, stale))


def render_models(versions: Mapping[str, Iterable[Manifest]], serving: Mapping[str, str | None]) -> bytes:
    """Return all versions of all models, newest first; of one that has none yet, what it will be.

    Args:
        serving: which version of each answers now.
    """
    listed = []
    for name, kind in MODELS.items():
        known = [_version(each, serving[name]) for each in versions[name]]
        listed += known[::-1] or [{"name": name, "kind": name, "classes": kind.classes, **_UNTRAINED}]
    return msgspec.json.encode({"models": listed})


_UNTRAINED = dict.fromkeys(("version", "trained_at", "metrics", "prior", "beats_naive")) | {"active": False}


def _version(about: Manifest, serving: str | None) -> dict[str, object]:
    return {
        "name": about.name,
        "kind": about.kind,
        "classes": about.classes,
        "version": about.version,
        "trained_at": format_time(int(about.trained_at * 1000)),
        "metrics": about.metrics,
        "prior": about.prior,
        "beats_naive": about.beats_naive,
        "active": about.version == serving,
        "horizon_seconds": about.horizon_seconds,
        "rows": about.rows,
    }
