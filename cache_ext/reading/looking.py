"""Looking together: of those who miss a key in L1 at once, one asks the shared store for all.

Without this, a key that many ask for costs a round trip, and perhaps a new connection, for each of them
whenever it leaves L1. Who joins a look may be told what the store said a moment before he came; so it counts
as an answer of L1, whose bound it keeps, and is not done while there is no live backplane to keep it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping

from msgspec.structs import replace

from cache_ext.coherence.backplane import Trust
from cache_ext.reading.found import Found
from cache_ext.reading.frames import current_frame
from cache_ext.reading.near import NearCache
from cache_ext.reading.reader import Reader
from cache_ext.reading.terms import ANY, Terms

PATIENCE = 1.0
"""Seconds that one waits for another's look; it takes no longer than one may spend on Redis."""
_Name = tuple[str, Collection[str]]


class _Look:
    """One look under way, for all keys that one caller misses.

    `found` is set before `landed`; what it lacks, whoever looked was killed before he found.
    """

    __slots__ = ("done", "found", "landed", "since")

    def __init__(self, since: int) -> None:
        self.since = since
        self.landed = False
        self.done: threading.Event | None = None
        self.found: Mapping[str, Found] = {}


class Looks:
    """The looks under way in this process."""

    def __init__(self, reader: Reader, near: NearCache, trust: Trust, monotonic: Callable[[], float]) -> None:
        self._reader = reader
        self._near = near
        self._trust = trust
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._plain: dict[_Name, _Look] = {}
        self._special: dict[Terms, dict[_Name, _Look]] = {}

    def read(self, tags_of: Mapping[str, Collection[str]], terms: Terms) -> Mapping[str, Found]:
        """Return what is found of each key, as `Reader.read` does, or as somebody is just being told.

        Args:
            tags_of, terms: as there, the tags as tuples.
        """
        if self._monotonic() >= self._trust.live_until or not (terms is ANY or terms.shared):
            return self._reader.read(tags_of, terms)
        look = _Look(self._near.mark())
        others = self._board(look, tags_of, terms)
        mine = {key: tags for key, tags in tags_of.items() if key not in others} if others else tags_of
        try:
            if mine:
                look.found = self._look(mine, terms)
        finally:
            self._land(look, mine, terms)
        if not others:
            return look.found
        found, again = dict(look.found), {}
        for key, other in others.items():
            if (shared := self._shared(key, other)) is not None:
                found[key] = shared
            else:
                again[key] = tags_of[key]
        return found | self._reader.read(again, terms) if again else found

    def _look(self, tags_of: Mapping[str, Collection[str]], terms: Terms) -> dict[str, Found]:
        """Ask the store for what no look that has just ended brought into L1."""
        if not any(map(self._near.has, tags_of)):
            return self._reader.read(tags_of, terms)
        now, found = self._monotonic(), {}
        for key in tags_of:
            slot = self._reader.near(key, terms)
            if slot is not None and now < slot.fresh_until:
                found[key] = Found(slot, slot.entry.token, "l1")
        rest = {key: tags for key, tags in tags_of.items() if key not in found}
        return found | self._reader.read(rest, terms) if rest else found

    def _board(self, look: _Look, tags_of: Mapping[str, Collection[str]], terms: Terms) -> dict[str, _Look]:
        """Have *look* stand for all keys that no other look is under way for; return those others."""
        others = {}
        with self._lock:
            looks = self._plain if terms is ANY else self._special.setdefault(terms, {})
            for name in tags_of.items():
                other = looks.setdefault(name, look)
                if other is not look:
                    others[name[0]] = other
        return others

    def _land(self, look: _Look, mine: Mapping[str, Collection[str]], terms: Terms) -> None:
        with self._lock:
            look.landed = True
            looks = self._plain if terms is ANY else self._special[terms]
            for name in mine.items():
                del looks[name]
            if not looks and terms is not ANY:
                del self._special[terms]
        if look.done is not None:
            look.done.set()

    def _shared(self, key: str, look: _Look) -> Found | None:
        """Return what *look* found of *key*, unless this process, or load, knows better."""
        with self._lock:
            if not look.landed and look.done is None:
                look.done = threading.Event()
        if look.done is not None:
            look.done.wait(PATIENCE)
        found = look.found.get(key)
        if found is None:
            return None
        if (slot := found.slot) is not None:
            frame = current_frame()
            if self._near.passed(slot, look.since) or not (frame is None or frame.accepts(slot)):
                return None
        return replace(found, layer="l1")
