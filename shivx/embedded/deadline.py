"""A moment by which waiting ends."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the moment *seconds* from now."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds until then, always > 0.

        Raises:
            TimeoutError: it has passed.
        """
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
