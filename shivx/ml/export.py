"""From LightGBM's trees to ONNX, which can be opened without trusting it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

Tree = Mapping[str, Any]
LEAF, BRANCH = "LEAF", "BRANCH_LEQ"
OPSETS = (("", 17), ("ai.onnx.ml", 3))
IR_VERSION = 9


def to_onnx(dump: Mapping[str, Any]) -> bytes:
    """Return the model that LightGBM's `dump_model` describes: ``features`` in, ``probabilities`` out.

    Raises:
        ValueError: it has something that is not translated.
    """
    classes, width = dump["num_class"], dump["max_feature_idx"] + 1
    nodes: dict[str, list[Any]] = {name: [] for name in _NODE_FIELDS}
    leaves: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, tree in enumerate(dump["tree_info"]):
        for node, about in enumerate(_flat(tree["tree_structure"])):
            values = (number, node, *about)
            for name, value in zip(_NODE_FIELDS, values, strict=True):
                nodes[name].append(value)
        for node, weight in _leaves(tree["tree_structure"]):
            for name, value in zip(leaves, (number, node, number % classes, weight), strict=True):
                leaves[name].append(value)
    attributes: dict[str, Any] = {
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{f"class_{name}": values for name, values in leaves.items()},
    }
    made = helper.make_node(
        "TreeEnsembleClassifier",
        ["features"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_int64s=list(range(classes)),
        post_transform="SOFTMAX",
        **attributes,
    )
    graph = helper.make_graph(
        [made],
        "shivx",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, width])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, classes]),
        ],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="shivx")
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


_NODE_FIELDS = (
    *("treeids", "nodeids", "modes", "featureids", "values"),
    *("truenodeids", "falsenodeids", "missing_value_tracks_true"),
)


def _flat(node: Tree) -> list[tuple[Any, ...]]:
    """Return a tree's nodes, each before its left and that before its right branch."""
    if "leaf_value" in node:
        return [(LEAF, 0, 0.0, 0, 0, 0)]
    if node["decision_type"] != "<=" or node["missing_type"] not in ("None", "NaN"):
        raise ValueError(f"{node['decision_type']} with {node['missing_type']} is not translated")
    left, right = _flat(node["left_child"]), _flat(node["right_child"])
    threshold = _floor(node["threshold"])
    # Where training saw no hole, LightGBM takes one for 0.
    goes_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0.0
    here = (BRANCH, node["split_feature"], threshold, 1, 1 + len(left), int(goes_left))
    return [here, *_moved(left, 1), *_moved(right, 1 + len(left))]


def _moved(nodes: list[tuple[Any, ...]], by: int) -> Iterator[tuple[Any, ...]]:
    for mode, feature, value, true, false, tracks in nodes:
        yield mode, feature, value, true + by * (mode != LEAF), false + by * (mode != LEAF), tracks


def _leaves(node: Tree) -> list[tuple[int, float]]:
    """Return the number, as `_flat` counts, and the weight of each leaf."""
    if "leaf_value" in node:
        return [(0, node["leaf_value"])]
    left = _leaves(node["left_child"])
    size = len(_flat(node["left_child"]))
    right = _leaves(node["right_child"])
    return [*((1 + at, weight) for at, weight in left), *((1 + size + at, weight) for at, weight in right)]


def _floor(threshold: float) -> float:
    """Return the largest single that is not above *threshold*: singles compare with both alike."""
    nearest = np.float32(threshold)
    return float(nearest if nearest <= threshold else np.nextafter(nearest, np.float32(-np.inf)))
