"""Small ONNX models whose answers tests know, in a registry."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shivx.ml.features import FEATURES_VERSION, NAMES
from shivx.ml.kinds import MODELS
from shivx.ml.manifest import Manifest
from shivx.ml.registry import Registry

MOVES = (-1.0, 0.0, 1.0)


def model_bytes(probabilities: tuple[float, ...], features: int = len(NAMES)) -> bytes:
    """Return a model that gives every row these *probabilities*."""
    weights = np.zeros((features, len(probabilities)), np.float32)
    bias = np.array([math.log(each) for each in probabilities], np.float32)
    nodes = [
        helper.make_node("IsNaN", ["features"], ["holes"]),
        helper.make_node("Where", ["holes", "zero", "features"], ["whole"]),
        helper.make_node("MatMul", ["whole", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(probabilities)])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(np.zeros((), np.float32), "zero"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content


def manifest_of(name: str, model: bytes, until: str = "20260101T000000Z", **changes: Any) -> Manifest:
    """Return the manifest of *model*, trained on data that end at *until*."""
    digest = hashlib.sha256(model).hexdigest()
    fields: dict[str, Any] = {
        "name": name,
        "version": f"{until}-{digest[:8]}",
        "kind": name,
        "classes": MODELS[name].classes,
        "horizon_seconds": MODELS[name].horizon_seconds,
        "features_version": FEATURES_VERSION,
        "feature_names": NAMES,
        "trained_at": 1_767_225_600.0,
        "data_from": 1_760_000_000.0,
        "data_until": 1_767_225_600.0,
        "source": "scripted",
        "pairs": ("BTC-USDC",),
        "rows": {"train": 100, "held_out": 20},
        "metrics": {"log_loss": 1.0, "accuracy": 0.5},
        "prior": {"log_loss": 1.1, "accuracy": 0.4},
        "beats_naive": True,
        "moves": MOVES,
        "model_sha256": digest,
        "model_bytes": len(model),
    }
    return Manifest(**(fields | changes))


def activate(
    folder: Path, name: str, probabilities: tuple[float, ...], until: str = "20260101T000000Z"
) -> str:
    """Add a version of a model that gives these *probabilities*, make it the active one, and return it."""
    model = model_bytes(probabilities)
    manifest = manifest_of(name, model, until)
    registry = Registry(folder)
    registry.add(manifest, model)
    registry.point_to(name, manifest.version)
    return manifest.version
