"""What is kept of computed indicators and correlations."""

from __future__ import annotations

from msgspec import Struct

Point = float | None


class Computed(Struct, frozen=True):
    """The newest values of one indicator.

    Args:
        times: when the candles open that it has values for, Unix ms, oldest first.
        columns: an output each, in the order of `Spec.outputs`; None where there is no value.
        reading: what the newest value says in a word; None for most, and where there is no value.
        anchored_at: where the history begins on which values depend, Unix ms; None if they do not.
        until: the end of the newest candle, Unix ms; None if there is none.
        received_at, as_of: of the candles, Unix ms.
    """

    times: tuple[int, ...]
    columns: tuple[tuple[Point, ...], ...]
    reading: str | None
    anchored_at: int | None
    until: int | None
    received_at: int
    as_of: int | None = None


class Correlations(Struct, frozen=True):
    """How the returns of pairs go together.

    Args:
        matrix: from -1 to 1, rows and columns in the order of the pairs; None where it has no value.
        returns: of how many common returns each is made.
        until: the end of the newest candle of any pair, Unix ms; None if there is none.
        received_at, as_of: of the oldest candles, Unix ms.
    """

    matrix: tuple[tuple[Point, ...], ...]
    returns: tuple[tuple[int, ...], ...]
    until: int | None
    received_at: int
    as_of: int | None = None
