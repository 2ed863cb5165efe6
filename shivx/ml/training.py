"""Learning: LightGBM with one thread and fixed seeds, so that the same rows give the same model."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np

from shivx.indicators.prices import Floats
from shivx.ml.dataset import Rows

ROUNDS = 60
PARAMETERS: dict[str, Any] = {
    "objective": "multiclass",
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 100,
    "lambda_l2": 10.0,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
"""Small trees that learn slowly: most of what prices seem to say is noise."""


def learn(rows: Rows, classes: int) -> lightgbm.Booster:
    """Return what LightGBM learns from *rows*."""
    data = lightgbm.Dataset(as_served(rows.features), label=rows.classes, params=PARAMETERS)
    return lightgbm.train(PARAMETERS | {"num_class": classes}, data, ROUNDS)


def as_served(features: Floats) -> Floats:
    """Return *features* as models are told them when they serve: rounded to single precision."""
    return features.astype(np.float32).astype(np.float64)
