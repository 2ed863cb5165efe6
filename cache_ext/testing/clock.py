"""A clock that moves only when told to."""

from __future__ import annotations

import threading

NOON = 1_700_000_000.0
"""Unix time that a fake clock starts at, seconds; any would do."""


class FakeClock:
    """A clock that moves only when told to. Pass `monotonic` and `time` where code takes a clock.

    Args:
        monotonic: seconds that the monotonic clock shows first.
        unix: seconds that the wall clock shows first.
    """

    def __init__(self, monotonic: float = 1000.0, unix: float = NOON) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._unix = unix

    def monotonic(self) -> float:
        """Return the monotonic time in seconds."""
        with self._lock:
            return self._monotonic

    def time(self) -> float:
        """Return the Unix time in seconds."""
        with self._lock:
            return self._unix

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass on both clocks.

        Raises:
            ValueError: *seconds* is negative.
        """
        if seconds < 0:
            raise ValueError("time does not run backwards; see step_wall_clock")
        with self._lock:
            self._monotonic += seconds
            self._unix += seconds

    def sleep(self, seconds: float) -> None:
        """Sleep, as `time.sleep` does, but return at once with both clocks advanced."""
        self.advance(seconds)

    def step_wall_clock(self, seconds: float) -> None:
        """Set the wall clock forward, or back if negative, as NTP or an operator does."""
        with self._lock:
            self._unix += seconds
