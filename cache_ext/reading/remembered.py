"""What happened to names lately, so that what was on its way meanwhile is not believed."""

from __future__ import annotations

from collections import OrderedDict

_REMEMBERED = 8_192
"""Names that are remembered singly; older ones only as 'something was'."""


class Remembered:
    """What happened to names lately, and when; of what is long ago only that something was."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[int, bytes]] = OrderedDict()
        self._floor = 0

    def note(self, name: str, tick: int, by: bytes = b"") -> None:
        """Note that it happened to *name* at *tick*, done *by* the load of that token."""
        self._last[name] = tick, by
        self._last.move_to_end(name)
        if len(self._last) > _REMEMBERED:
            self._floor = self._last.popitem(last=False)[1][0]

    def after(self, name: str, mark: int, but_by: bytes | None = None) -> bool:
        """Tell whether it happened to *name* after *mark*, or may have; not if *but_by* did it last."""
        tick, by = self._last.get(name, (self._floor, b""))
        return tick > mark and by != but_by
