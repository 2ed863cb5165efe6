"""Which models there are, and what each tells apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """What a model predicts.

    Args:
        classes: what it tells apart, in the order of its probabilities.
        horizon_seconds: how far ahead it looks.
    """

    classes: tuple[str, ...]
    horizon_seconds: int


MODELS: Mapping[str, Kind] = {
    "direction": Kind(("down", "flat", "up"), 4 * 3600),
    "volatility": Kind(("calm", "normal", "wild"), 4 * 3600),
}
"""By name. An `ENSEMBLE` of them is made when it is asked for, and has no versions of its own."""
ENSEMBLE = "ensemble"
