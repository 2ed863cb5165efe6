"""Looking together: of those who miss a key in L1 at once, one asks the shared store for all.

Without this, a key that many ask for costs a round trip, and perhaps a new connection, for each of them
whenever it leaves L1. Who joins a look may be told what the store said a moment before he came; so it counts
as an answer of L1, whose bound it keeps, and is not done while there is no live backplane to keep it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from cache_ext.coherence.backplane import Trust
from cache_ext.reading.found import Found
from cache_ext.reading.frames import current_frame
from cache_ext.reading.near import NearCache
from cache_ext.reading.reader import Reader
from cache_ext.reading.sight import NOTHING_SEEN, Sight
from cache_ext.reading.terms import ANY, Terms

PATIENCE = 1.0
"""Seconds that one waits for another's look; it takes no longer than one may spend on Redis."""


class _Look:
    """One look under way, for all keys that one caller misses.

    `sight` is set before `landed`; what it lacks, whoever looked was killed before he saw it.
    """

    __slots__ = ("done", "landed", "sight", "since", "tags_of")

    def __init__(self, since: int, tags_of: Mapping[str, tuple[str, ...]]) -> None:
        self.since = since
        self.tags_of = tags_of
        self.landed = False
        self.done: threading.Event | None = None
        self.sight = NOTHING_SEEN


class Looks:
    """The looks under way in this process."""

    def __init__(self, reader: Reader, near: NearCache, trust: Trust, monotonic: Callable[[], float]) -> None:
        self._reader = reader
        self._near = near
        self._trust = trust
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._plain: dict[str, _Look] = {}
        self._special: dict[Terms, dict[str, _Look]] = {}

    def look(self, tags_of: Mapping[str, tuple[str, ...]], terms: Terms, *, plain: bool) -> Sight:
        """Return what is seen of each key, as `Reader.look` does, or as somebody is just being told."""
        if self._monotonic() >= self._trust.live_until or not (terms is ANY or terms.shared):
            return self._reader.look(tags_of, terms, plain=plain)
        look = _Look(self._near.mark(), tags_of)
        others = self._board(look, terms)
        mine = {key: tags for key, tags in tags_of.items() if key not in others} if others else tags_of
        try:
            if mine:
                look.sight = self._look(mine, terms, plain)
        finally:
            self._land(look, mine, terms)
        if not others:
            return look.sight
        seen, again = {}, {}
        for key, other in others.items():
            alike = other.tags_of[key] == tags_of[key]
            if alike and (shared := self._shared(key, other)) is not None:
                seen[key] = shared
            else:
                again[key] = tags_of[key]
        rest = self._reader.read(again, terms) if again else {}
        return look.sight.with_found({**seen, **rest})

    def _look(self, tags_of: Mapping[str, tuple[str, ...]], terms: Terms, plain: bool) -> Sight:
        """Ask the store for what no look that has just ended brought into L1."""
        held = self._near.held(tags_of)
        if not held:
            return self._reader.look(tags_of, terms, plain=plain)
        now, found = self._monotonic(), {}
        for key in held:
            slot = self._reader.near(key, terms)
            if slot is not None and now < slot.fresh_until:
                found[key] = Found(slot, slot.entry.token, "l1")
        rest = {key: tags for key, tags in tags_of.items() if key not in found}
        sight = self._reader.look(rest, terms, plain=plain) if rest else NOTHING_SEEN
        return sight.with_found(found)

    def _board(self, look: _Look, terms: Terms) -> dict[str, _Look]:
        """Have *look* stand for all its keys that no other look is under way for; return those others."""
        with self._lock:
            looks = self._plain if terms is ANY else self._special.setdefault(terms, {})
            others = {key: looks[key] for key in look.tags_of if key in looks} if looks else {}
            if others:
                looks.update({key: look for key in look.tags_of if key not in others})
            else:
                looks.update(dict.fromkeys(look.tags_of, look))
        return others

    def _land(self, look: _Look, mine: Mapping[str, tuple[str, ...]], terms: Terms) -> None:
        with self._lock:
            look.landed = True
            looks = self._plain if terms is ANY else self._special[terms]
            if len(looks) == len(mine):  # nobody else looks
                looks.clear()
            else:
                for key in mine:
                    del looks[key]
            if not looks and terms is not ANY:
                del self._special[terms]
        if look.done is not None:
            look.done.set()

    def _shared(self, key: str, look: _Look) -> Found | None:
        """Return what *look* saw of *key*, unless this process, or load, knows better."""
        with self._lock:
            if not look.landed and look.done is None:
                look.done = threading.Event()
        if look.done is not None:
            look.done.wait(PATIENCE)
        found = look.sight.found.get(key)
        if (mine := look.sight.slot(key)) is not None:
            found = Found(mine, mine.entry.token)
        if found is None:
            return None
        if (slot := found.slot) is not None:
            frame = current_frame()
            if self._near.passed(slot, look.since) or not (frame is None or frame.accepts(slot)):
                return None
        return replace(found, layer="l1")
