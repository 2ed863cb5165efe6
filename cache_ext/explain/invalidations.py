"""What was invalidated lately, by any process that this one hears of, when, by whom and why."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Struct

from cache_ext.coherence.messages import EVERYTHING, Message
from cache_ext.coherence.reasons import By
from cache_ext.explain.moments import moment

RECENT = 100
"""Invalidations that are shown."""
REMEMBERED = 8_192
"""Names whose last one is remembered."""
SHOWN_NAMES = 20
What = Literal["tags", "tags, softly", "keys", "everything"]
_KINDS: dict[str, What] = {"i": "tags", "s": "tags, softly", "d": "keys"}
_Name = tuple[bool, str]
"""Whether it is a key, and its name."""
_ALL: _Name = (False, "")


class Told(Struct, frozen=True):
    """An invalidation.

    Args:
        at: when a process did it or heard of it, RFC 3339.
        what: it was aimed at.
        names: of these, 20 at most.
        count: how many there were.
        host, pid: who decided it; "" and 0 if that is not known.
        reason: that was given for it; "" if none was.
        applied: whether Redis was told at once; else it was queued.
    """

    at: str
    what: What
    names: tuple[str, ...]
    count: int
    host: str
    pid: int
    reason: str
    applied: bool = True


class Invalidations:
    """A memory, bounded.

    Args:
        signature: of this process' own messages: these it notes when it decides.
        clock: Unix seconds.
    """

    def __init__(self, signature: str, clock: Callable[[], float] = time.time) -> None:
        self._signature = signature
        self._clock = clock
        self._lock = threading.Lock()
        self._recent: deque[Told] = deque(maxlen=RECENT)
        self._last: OrderedDict[_Name, Told] = OrderedDict()

    def heard(self, message: Message) -> None:
        """Note what another process told, if it is an invalidation."""
        if message.sender and message.sender == self._signature:
            return
        if message.kind in _KINDS and message.names:
            self.note(_KINDS[message.kind], message.names, message.by)
        elif message.kind == "e" and message.names == EVERYTHING:
            by = (
                message.by
                if message.by.host
                else message.by._replace(reason="a run of Redis that is new to us")
            )
            self.note("everything", (), by)

    def note(self, what: What, names: Sequence[str], by: By, *, applied: bool = True) -> None:
        """Note that *what*, of these *names*, was invalidated just now."""
        told = Told(moment(self._clock()), what, tuple(names[:SHOWN_NAMES]), len(names), *by, applied=applied)
        with self._lock:
            self._recent.append(told)
            if what == "everything":
                self._last.clear()
                self._last[_ALL] = told
                return
            for name in names:
                place = (what == "keys", name)
                self._last[place] = told
                self._last.move_to_end(place)
            while len(self._last) > REMEMBERED:
                self._last.popitem(last=False)

    def recent(self) -> tuple[Told, ...]:
        """Return the last invalidations, newest first."""
        with self._lock:
            return tuple(reversed(self._recent))

    def last(self, key: str, tags: Iterable[str]) -> dict[str, Told]:
        """Return what is remembered last of *key*, under its name, and of *tags*.

        ``*`` stands for everything; what came before that is forgotten.
        """
        places = {key: (True, key), "*": _ALL} | {tag: (False, tag) for tag in tags}
        with self._lock:
            return {name: self._last[place] for name, place in places.items() if place in self._last}
