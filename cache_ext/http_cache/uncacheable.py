"""URLs whose answers may not be stored, for a moment: their requests do not wait for each other."""

from __future__ import annotations

from collections.abc import Callable

_REMEMBERED = 8_192


class Uncacheable:
    """Keys that were answered by what may not be stored, as this process saw.

    Args:
        seconds: for which that is remembered.
        monotonic: the clock, seconds.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._until: dict[str, float] = {}

    def add(self, key: str) -> None:
        """Remember *key*."""
        if len(self._until) >= _REMEMBERED:
            self._until.clear()
        self._until[key] = self._monotonic() + self._seconds

    def has(self, key: str) -> bool:
        """Tell whether *key* is remembered."""
        until = self._until.get(key)
        if until is None:
            return False
        if self._monotonic() < until:
            return True
        self._until.pop(key, None)
        return False
