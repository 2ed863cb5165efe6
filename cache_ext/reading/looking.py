"""Looking together: of those who miss a key in L1 at once, one asks the shared store for all.

Without this, a key that many ask for costs a round trip, and perhaps a new connection, for each of them
whenever it leaves L1. Who joins a look may be told what the store said a moment before he came; so it counts
as an answer of L1, whose bound it keeps, and is not done while there is no live backplane to keep it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping

from cache_ext.coherence.backplane import Trust
from cache_ext.reading.frames import current_frame
from cache_ext.reading.near import NearCache
from cache_ext.reading.reader import Found, Reader
from cache_ext.reading.terms import Terms

PATIENCE = 1.0
"""Seconds that one waits for another's look; it takes no longer than one may spend on Redis."""
_Name = tuple[str, tuple[str, ...], Terms]


class _Look:
    """One look under way. `found` is set before `done`, and stays None if whoever looked was killed."""

    __slots__ = ("done", "found", "since")

    def __init__(self, since: int) -> None:
        self.since = since
        self.done = threading.Event()
        self.found: Found | None = None


class Looks:
    """The looks under way in this process."""

    def __init__(self, reader: Reader, near: NearCache, trust: Trust, monotonic: Callable[[], float]) -> None:
        self._reader = reader
        self._near = near
        self._trust = trust
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._open: dict[_Name, _Look] = {}

    def read(self, tags_of: Mapping[str, Collection[str]], terms: Terms) -> dict[str, Found]:
        """Return what is found of each key, as `Reader.read` does, or as somebody is just being told."""
        if self._monotonic() >= self._trust.live_until or not terms.shared:
            return self._reader.read(tags_of, terms)
        names = {key: (key, tuple(tags), terms) for key, tags in tags_of.items()}
        mine, others = self._board(names)
        found: dict[str, Found] = {}
        try:
            found = self._look({key: tags_of[key] for key in mine}, terms)
        finally:
            self._land(names, mine, found)
        again = {}
        for key, look in others.items():
            if (shared := self._shared(look)) is not None:
                found[key] = shared
            else:
                again[key] = tags_of[key]
        return found | self._reader.read(again, terms) if again else found

    def _look(self, tags_of: Mapping[str, Collection[str]], terms: Terms) -> dict[str, Found]:
        """Ask the store for what no look that has just ended brought into L1."""
        now, found = self._monotonic(), {}
        for key in tags_of:
            slot = self._reader.near(key, terms)
            if slot is not None and now < slot.fresh_until:
                found[key] = Found(slot, slot.entry.token, "l1")
        rest = {key: tags for key, tags in tags_of.items() if key not in found}
        return found | self._reader.read(rest, terms) if rest else found

    def _board(self, names: Mapping[str, _Name]) -> tuple[dict[str, _Look], dict[str, _Look]]:
        """Return the looks that the caller leads and those that others do, by key."""
        mine, others = {}, {}
        with self._lock:
            for key, name in names.items():
                look = self._open.get(name)
                if look is None:
                    mine[key] = self._open[name] = _Look(self._near.mark())
                else:
                    others[key] = look
        return mine, others

    def _land(
        self, names: Mapping[str, _Name], mine: Mapping[str, _Look], found: Mapping[str, Found]
    ) -> None:
        with self._lock:
            for key in mine:
                del self._open[names[key]]
        for key, look in mine.items():
            look.found = found.get(key)
            look.done.set()

    def _shared(self, look: _Look) -> Found | None:
        """Return what *look* found, unless this process, or load, knows better."""
        found = look.found if look.done.wait(PATIENCE) else None
        if found is None:
            return None
        if (slot := found.slot) is not None:
            frame = current_frame()
            if self._near.passed(slot, look.since) or not (frame is None or frame.accepts(slot)):
                return None
        return found._replace(layer="l1")
