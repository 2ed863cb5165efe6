"""Rows of models: one row of features through a model as training makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from benchmarks.racing import Statement, race
from benchmarks.rows import Row, in_words, micros
from benchmarks.stage import Stage
from shivx.ml.dataset import Rows
from shivx.ml.export import to_onnx
from shivx.ml.features import FEATURES_VERSION, NAMES
from shivx.ml.kinds import MODELS
from shivx.ml.manifest import Manifest
from shivx.ml.sessions import OpenModel
from shivx.ml.training import learn

NAME = "direction"
LEARNT_FROM = 4000
LIMIT = 50e-6
"""Seconds."""
ALONE, MANY = "one row", "100 rows"


def inference(stage: Stage) -> Iterator[Row]:
    """One row, as a prediction asks, and a batch of them."""
    opened = _model()
    one = np.zeros((1, len(NAMES))).tolist()
    many = np.random.default_rng(2).normal(size=(100, len(NAMES))).tolist()
    times = race(
        [
            Statement(ALONE, "predict(rows)", predict=opened.predict, rows=one),
            Statement(MANY, "predict(rows)", predict=opened.predict, rows=many),
        ],
        stage.sizes.pace,
    )
    taken = times.median(ALONE)
    yield Row(
        "inference of one row",
        f"≤ {in_words(LIMIT)}",
        in_words(taken),
        f"100 rows at once: {in_words(times.median(MANY))}",
        taken <= LIMIT,
        micros(times),
    )


def _model() -> OpenModel:
    """Return a model that was learnt from noise: its trees are as large as any."""
    random = np.random.default_rng(1)
    rows = Rows(
        np.arange(LEARNT_FROM),
        random.normal(size=(LEARNT_FROM, len(NAMES))),
        random.integers(0, 3, LEARNT_FROM),
        random.normal(size=LEARNT_FROM),
    )
    kind = MODELS[NAME]
    model = to_onnx(learn(rows, len(kind.classes)).dump_model())
    manifest = Manifest(
        name=NAME,
        version="20260101T000000Z-00000000",
        kind=NAME,
        classes=kind.classes,
        horizon_seconds=kind.horizon_seconds,
        features_version=FEATURES_VERSION,
        feature_names=NAMES,
        trained_at=0.0,
        data_from=0.0,
        data_until=0.0,
        source="noise",
        pairs=(),
        rows={},
        metrics={},
        prior={},
        beats_naive=False,
        moves=(0.0, 0.0, 0.0),
        model_sha256=hashlib.sha256(model).hexdigest(),
        model_bytes=len(model),
    )
    return OpenModel(manifest, model)
