"""How good a model is, beside saying always how frequent each class is; and which one is to serve."""

from __future__ import annotations

import numpy as np

from shivx.indicators.prices import Floats, Whole

LEAST = 1e-6
"""A probability of 0 would make one surprise cost everything."""


def scores(probabilities: Floats, classes: Whole) -> dict[str, float]:
    """Return log-loss and accuracy of *probabilities*, a row for each of *classes*."""
    said = np.clip(probabilities[np.arange(len(classes)), classes], LEAST, 1.0)
    return {
        "log_loss": float(-np.log(said).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == classes).mean()),
    }


def prior_of(classes: Whole, count: int) -> Floats:
    """Return how frequent each of *count* classes is among *classes*."""
    frequencies: Floats = np.bincount(classes, minlength=count) / len(classes)
    return frequencies


def verdict(
    new: float, prior: float, active: float | None, *, force: bool, first: bool = False
) -> tuple[bool, str]:
    """Tell whether a model is to serve, and why.

    Args:
        new, prior, active: log-losses on the same rows; None if no version serves.
        force: whatever they are.
        first: there is no other version. If there is, and none serves, it has to beat the prior all the same.
    """
    if active is None and first:
        return True, "it is the first"
    if force:
        return True, "it was forced"
    if new >= prior:
        return False, f"its log-loss {new:.5f} is not better than the prior's {prior:.5f}"
    if active is None:
        return True, f"its log-loss {new:.5f} is better than the prior's {prior:.5f}, and no version serves"
    if new >= active:
        return False, f"its log-loss {new:.5f} is not better than the active version's {active:.5f}"
    return True, f"its log-loss {new:.5f} is better than the active version's {active:.5f}"
