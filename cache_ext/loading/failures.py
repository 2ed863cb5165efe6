"""Loads that failed a moment ago: they are not tried again at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

REST = 0.5
"""Seconds that a key is left alone by background refreshes after a load of it failed."""
_REMEMBERED = 10_000
"""Keys; beyond that the oldest failures are forgotten, and tried again."""


class _Failure(NamedTuple):
    error: Exception
    throttled_until: float
    rests_until: float


class Failures:
    """What failed lately in this process, by key.

    Args:
        monotonic: the clock, seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: OrderedDict[str, _Failure] = OrderedDict()

    def note(self, key: str, error: Exception, throttle: float) -> None:
        """Note that loading *key* failed with *error*; no caller tries it again for *throttle* seconds."""
        now = self._monotonic()
        with self._lock:
            self._last[key] = _Failure(error, now + throttle, now + max(throttle, REST))
            self._last.move_to_end(key)
            if len(self._last) > _REMEMBERED:
                self._last.popitem(last=False)

    def throttled(self, key: str) -> Exception | None:
        """Return what loading *key* failed with, if it shall not be tried yet."""
        failure = self._last.get(key)
        return failure.error if failure is not None and self._monotonic() < failure.throttled_until else None

    def rests(self, key: str) -> bool:
        """Tell whether a background refresh of *key* should wait a little."""
        failure = self._last.get(key)
        return failure is not None and self._monotonic() < failure.rests_until

    def forget(self, key: str) -> None:
        """Note that *key* was loaded."""
        if key in self._last:
            with self._lock:
                self._last.pop(key, None)
