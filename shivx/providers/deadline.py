"""How long a question to an origin may still take."""

from __future__ import annotations

from collections.abc import Callable


class DeadlinePassed(TimeoutError):
    """The time for the whole question is used up."""


class Deadline:
    """One total time limit, shared by everything that one question does.

    Args:
        seconds: how long from now, > 0.
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ends = monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, 0 or less if there are none."""
        return self._ends - self._monotonic()

    def remaining(self) -> float:
        """Return the seconds left, always > 0.

        Raises:
            DeadlinePassed: none are left.
        """
        left = self.left()
        if left <= 0:
            raise DeadlinePassed("the deadline has passed")
        return left
