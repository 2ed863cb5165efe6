"""What predictions are made of, and what they are, as they are kept."""

from __future__ import annotations

from msgspec import Struct

from shivx.models import Pair


class Features(Struct, frozen=True):
    """What models are told of a pair. Times are Unix ms.

    Args:
        row: one number a feature; NaN where it has no value.
        until: the end of the newest candle that it is made of.
    """

    row: tuple[float, ...]
    until: int
    received_at: int
    as_of: int | None = None


class Prediction(Struct, frozen=True):
    """What a version of a model says of a pair. Times are Unix ms.

    Args:
        probabilities: of each class, in the model's order.
        confidence: the probability of the class that is predicted, less where something speaks against it.
        until: the end of the newest candle that was looked at.
    """

    pair: Pair
    model: str
    version: str
    prediction: str
    confidence: float
    probabilities: dict[str, float]
    expected_move_percent: float
    horizon_seconds: int
    beats_naive: bool
    until: int
    received_at: int
    as_of: int | None = None
