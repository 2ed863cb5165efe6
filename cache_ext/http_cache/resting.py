"""How often a response is made anew ahead of its end, while what it is made of is still being refreshed."""

from __future__ import annotations

_REMEMBERED = 8_192
_LEAST = 0.01
"""Seconds between two attempts."""


class Rests:
    """Lets one attempt at a key through, and the next when half of what is then left is over.

    The first attempt has the application read values that are due, which are refreshed in the background
    while it is given the old ones; a later one finds the new ones there. So whatever loading them takes,
    nobody waits for it, and attempts are few.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def lets(self, key: str, now: float, end: float) -> bool:
        """Tell whether *key*, which is fresh until *end*, may be attempted *now*; note it if so."""
        if now < self._until.get(key, now):
            return False
        if len(self._until) >= _REMEMBERED:
            self._until.clear()
        self._until[key] = now + max(_LEAST, (end - now) / 2)
        return True
