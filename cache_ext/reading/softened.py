"""Soft invalidations of late: what is on its way to L1 while one passes must not arrive there as fresh."""

from __future__ import annotations

from collections import OrderedDict

from cache_ext.entry import Entry, Version

_REMEMBERED = 8_192
"""Tags that are remembered singly; older ones only as 'something was'."""


class Softened:
    """Tags that were softly invalidated, in which order, when, and which version each got."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[int, float, Version | None]] = OrderedDict()
        self._forgotten: tuple[int, float, Version | None] = (0, 0.0, None)

    def note(self, tag: str, tick: int, moment: float, since: Version | None) -> None:
        """Note that *tag* was at *tick*, on the clock *moment*, and got the version *since*, if known."""
        self._last[tag] = tick, moment, since
        self._last.move_to_end(tag)
        if len(self._last) > _REMEMBERED:
            self._forgotten = self._last.popitem(last=False)[1]

    def stale_since(self, entry: Entry, mark: int) -> float | None:
        """Return since when *entry*, which somebody went for at *mark*, is stale; None if it is not."""
        moments = []
        for tag, _, _ in entry.tags:
            tick, moment, since = self._last.get(tag, self._forgotten)
            if tick > mark and (since is None or tag not in self._last or precedes(entry, tag, since)):
                moments.append(moment)
        return min(moments, default=None)


def precedes(entry: Entry, tag: str, version: Version) -> bool:
    """Tell whether *entry* was made before *version* of *tag*, or in another epoch, which has no order."""
    made = entry.versions[tag]
    return made.epoch != version.epoch or made.counter < version.counter
