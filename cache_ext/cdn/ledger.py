"""What a CDN has still to be told: names that wait, and names to be purged again later."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice

MAX_NAMES = 10_000
"""More than so many names are one: everything."""
GRAIN = 0.5
"""Seconds. Second purges that are due within the same grain are one, at its end."""


class Ledger:
    """The names of one process. Times are seconds on one clock, which its user reads.

    Each name is purged at once, and again *again_after* its invalidation, or up to `GRAIN` later. Further
    invalidations of a name put its purges off by nothing: each gets both.

    Args:
        everything: the name that stands for all.
        again_after: from an invalidation to its second purge.
        give_up_after: that a name may wait for a CDN that does not answer.
    """

    def __init__(self, everything: str, again_after: float, give_up_after: float) -> None:
        self._everything = everything
        self._again_after = again_after
        self._give_up_after = give_up_after
        self._waiting: dict[str, float] = {}
        self._owed: dict[float, set[str]] = {}

    def add(self, names: Iterable[str], now: float) -> None:
        """Note that *names* were invalidated *now*."""
        names = tuple(names)
        for name in names:
            self._waiting.setdefault(name, now)
        self.owe(names, now + self._again_after)

    def owe(self, names: Iterable[str], at: float) -> None:
        """Note that *names* are to be purged *at* some time."""
        self._owed.setdefault(math.ceil(at / GRAIN) * GRAIN, set()).update(names)
        self._bound()

    def take(self, now: float, most: int) -> dict[str, float]:
        """Take out up to *most* names to be purged now; with each, since when it waits."""
        for at in [at for at in self._owed if at <= now]:
            for name in self._owed.pop(at):
                self._waiting.setdefault(name, now)
        taken = dict(islice(self._waiting.items(), most))
        for name in taken:
            del self._waiting[name]
        return taken

    def put_back(self, taken: dict[str, float]) -> None:
        """Let *taken*, which could not be purged, wait on."""
        self._waiting = {**self._waiting, **taken}
        self._bound()

    def give_up(self, now: float) -> list[str]:
        """Take out and return the names that have waited for too long."""
        lost = [name for name, since in self._waiting.items() if since <= now - self._give_up_after]
        for name in lost:
            del self._waiting[name]
        return lost

    def rest(self, now: float) -> float:
        """Return the seconds until something is due; 0 if it is, infinite if nothing ever is."""
        if self._waiting:
            return 0.0
        return max(0.0, min(self._owed, default=math.inf) - now)

    def leave(self) -> dict[float, set[str]]:
        """Take out and return all, by when it is due; what waits has been due for ever."""
        left = {-math.inf: set(self._waiting), **self._owed} if self._waiting else self._owed
        self._waiting, self._owed = {}, {}
        return left

    @property
    def waits(self) -> bool:
        """Whether a name is to be purged now."""
        return bool(self._waiting)

    def _bound(self) -> None:
        if len(self._waiting) > MAX_NAMES:
            self._waiting = {self._everything: min(self._waiting.values())}
        if sum(map(len, self._owed.values())) > MAX_NAMES:
            self._owed = {at: {self._everything} for at in self._owed}
