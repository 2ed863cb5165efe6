"""How long sessions live."""

from __future__ import annotations

from typing import NamedTuple


class Lives(NamedTuple):
    """How long sessions live, in seconds, and how many of them an account may have.

    Args:
        ttl: from signing in (or the first write) to the end.
        idle: from the last use to the end.
        most: of one account; the oldest ends for one too many.
    """

    ttl: float
    idle: float
    most: int

    @property
    def note_after(self) -> float:
        """Seconds after which it is noted again that a session was seen."""
        return min(60.0, self.idle / 8)
