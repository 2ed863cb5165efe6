"""One line of a host's table of shares: what Redis last told of a subject, and what was admitted since."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from mmap import mmap

from cache_ext.limits.decision import SLICES
from cache_ext.limits.window import Window

PLACE_BYTES = 200
"""A longer Redis key than `limiter` makes."""
_FIGURE = struct.Struct("<16sdII")
"""Whose line it is, when Redis told the figure (s; 0 never), units left then, milliseconds of a slice."""
_ADMITTED = struct.Struct("<dHHH")
"""When something was last admitted (s), slices with units in them, bucket, bytes of the place."""
_SLICE = struct.Struct("<QI")
_SLICES_AT = _FIGURE.size + _ADMITTED.size
_PLACE_AT = _SLICES_AT + (SLICES + 1) * _SLICE.size
LINE_BYTES = _PLACE_AT + PLACE_BYTES
MARK_BYTES = 16
set_figure = _FIGURE.pack_into
"""Note a figure without reading the rest: table, where the line begins, and the fields of `_FIGURE`."""
FREE = bytes(MARK_BYTES)


class Line:
    """A line, as it was read; `write` puts it back.

    Args:
        table: that it is part of.
        at: where it begins.
    """

    __slots__ = (
        "_table",
        "at",
        "bucket",
        "figure_at",
        "left",
        "mark",
        "place",
        "used_at",
        "width",
        "window",
    )

    def __init__(self, table: mmap, at: int) -> None:
        self._table, self.at = table, at
        self.mark, self.figure_at, self.left, self.width = _FIGURE.unpack_from(table, at)
        self.used_at, count, self.bucket, size = _ADMITTED.unpack_from(table, at + _FIGURE.size)
        first = at + _SLICES_AT
        last = first + min(count, SLICES + 1) * _SLICE.size
        self.window = Window(list(_SLICE.iter_unpack(table[first:last])))
        place = table[at + _PLACE_AT : at + _PLACE_AT + min(size, PLACE_BYTES)]
        self.place = place.decode(errors="replace")

    def begin(self, mark: bytes, place: str, bucket: int, width: int) -> None:
        """Let it be another subject's, of whom nothing is known."""
        self.mark, self.place, self.bucket, self.width = mark, place, bucket, width
        self.figure_at, self.left, self.used_at, self.window = 0.0, 0, 0.0, Window()

    def figure_until(self, now: float) -> float:
        """Return when all that was used when the figure was told is free again; 0 if it is, or none is known.

        Args:
            now: seconds, as the result.
        """
        if not 0 < self.figure_at <= now:
            return 0.0
        until = self.figure_at + (SLICES + 1) * self.width / 1000
        return until if now < until else 0.0

    def settle(self, now: float, told: int, items: Sequence[tuple[int, int]]) -> None:
        """Let it owe no more than came after what was told, and go on from below that without Redis.

        Args:
            now: seconds.
            told: units that Redis was told of, and that count still.
            items: of the window, as it was then.
        """
        self.figure_at, self.left = now, max(0, self.left - told)
        known = dict(items)
        rest = [(number, units - known.get(number, 0)) for number, units in self.window.items]
        self.window.items = [item for item in rest if item[1] > 0]

    def write(self) -> None:
        """Put it back as it is now."""
        table, at, place = self._table, self.at, self.place.encode()
        items = self.window.items[-SLICES - 1 :]
        packed = b"".join([_SLICE.pack(*item) for item in items])
        table[at + _SLICES_AT : at + _SLICES_AT + len(packed)] = packed
        table[at + _PLACE_AT : at + _PLACE_AT + len(place)] = place
        _FIGURE.pack_into(table, at, self.mark, self.figure_at, self.left, self.width)
        _ADMITTED.pack_into(table, at + _FIGURE.size, self.used_at, len(items), self.bucket, len(place))


def touched(table: mmap, at: int) -> tuple[int, float]:
    """Return 1 if a line owes anything, else 0, and when it was last used, seconds: the lowest goes first."""
    (mark, figure_at, _, _), (used_at, count, _, _) = (
        _FIGURE.unpack_from(table, at),
        _ADMITTED.unpack_from(table, at + _FIGURE.size),
    )
    return (0, -1.0) if mark == FREE else (int(count > 0), max(figure_at, used_at))
