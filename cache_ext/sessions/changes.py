"""What one request changed in a session, to be put onto what others made of it meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from msgspec import Struct


class Changes(Struct, frozen=True):
    """Keys that were given a value, and keys that were taken away.

    Args:
        given: the new values, encoded.
        taken: keys that are no more.
        everything: whatever else there is goes as well.
    """

    given: dict[str, bytes]
    taken: frozenset[str] = frozenset()
    everything: bool = False

    @classmethod
    def between(cls, before: Mapping[str, bytes], now: Mapping[str, bytes], everything: bool = False) -> Self:
        """Return what makes *now* of *before*; a changed part of a value changes the value."""
        given = {key: value for key, value in now.items() if everything or before.get(key) != value}
        return cls(given, frozenset(before.keys() - now.keys()), everything)

    def onto(self, kept: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return *kept* with the changes; of two who change the same key, the later one wins."""
        if self.everything:
            return dict(self.given)
        return {key: value for key, value in kept.items() if key not in self.taken} | self.given
