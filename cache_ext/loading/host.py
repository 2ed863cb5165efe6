"""One load per host while the shared store is away: its processes take turns, and leave each other what came.

They share a folder. A key's turn is a lock on one of its files, which the kernel gives back when its holder
dies; what a turn brought lies beside it, for as long as a copy may be served that nobody can check. A load
inside another may need a turn that this one has: it is had already.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from cache_ext.coherence.locks import take_lock
from cache_ext.coherence.outbox import Outbox
from cache_ext.errors import PayloadError
from cache_ext.loading.leftovers import Leftovers
from cache_ext.loading.origin import UNTRUSTED, Departure, Job, Origin
from cache_ext.reading.found import UNCHECKED_LIFE, suits
from cache_ext.reading.near import NearCache
from cache_ext.reading.reader import Reader
from cache_ext.reading.slot import Slot

TURNS = 1024
"""Lock files; keys that share one take turns as well. So many that two processes hardly ever have, each in a
load inside another, the turn that the other waits for."""
PATIENCE = 10.0
"""Seconds that one waits for his turn before he goes ahead without it."""
RETRY = 0.005
"""Seconds between attempts to take a lock; loads last longer."""
_NANOSECONDS = 1e9

_held: ContextVar[frozenset[int]] = ContextVar("cache_ext_turns", default=frozenset())


def turn_of(key: str) -> int:
    """Return the turn of *key*, 0 <= turn < TURNS."""
    return zlib.crc32(key.encode()) % TURNS


class HostOrigin:
    """Calls loaders as `Origin` does; while the store is away, once for all processes of the host.

    Args:
        origin: calls the loaders.
        leftovers: what the processes leave each other; None shares nothing.
        near: knows which names were invalidated, and when; its clock is *monotonic*.
        outbox: asked, before anything is believed, what the other processes have invalidated.
        monotonic: the clock that the processes share, seconds.
    """

    def __init__(
        self,
        origin: Origin,
        leftovers: Leftovers | None,
        reader: Reader,
        near: NearCache,
        outbox: Outbox,
        monotonic: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._leftovers = leftovers
        self._reader = reader
        self._near = near
        self._outbox = outbox
        self._monotonic = monotonic

    def call(self, keys: Sequence[str], job: Job, departure: Departure) -> dict[str, Slot | Exception]:
        """See `Origin.call`. What was invalidated on this host meanwhile is known here when it returns."""
        try:
            if self._leftovers is None or not departure.alone:
                return self._origin.call(keys, job, departure)
            try:
                folder = self._leftovers.open()
            except OSError:  # no place to meet: each for himself
                return self._origin.call(keys, job, departure)
            with self._turns(folder, keys):
                return self._call(self._leftovers, keys, job, departure)
        finally:
            self._outbox.catch_up()

    def _call(
        self, leftovers: Leftovers, keys: Sequence[str], job: Job, departure: Departure
    ) -> dict[str, Slot | Exception]:
        """Return what was left of *keys* a moment ago; load the rest, and leave it to the others."""
        self._outbox.catch_up()
        found: dict[str, Slot | Exception] = {}
        for key in keys:
            if (left := self._left(leftovers, key, job)) is not None:
                found[key] = left
        rest = [key for key in keys if key not in found]
        loaded = self._origin.call(rest, job, departure) if rest else {}
        for slot in loaded.values():
            if isinstance(slot, Slot) and slot.entry.ttl:
                leftovers.leave(slot)
        return {**found, **loaded}

    @contextmanager
    def _turns(self, folder: Path, keys: Sequence[str]) -> Iterator[None]:
        """Hold the turns of *keys*, taken in one order by everybody, but for those held around this load."""
        around = _held.get()
        turns = {turn_of(key) for key in keys} - around
        with ExitStack() as held:
            for turn in sorted(turns):
                with suppress(OSError):
                    lock = held.enter_context((folder / f"{turn}.lock").open("w"))
                    take_lock(lock.fileno(), PATIENCE, RETRY, self._monotonic)
            held.callback(_held.reset, _held.set(around | turns))
            yield

    def _left(self, leftovers: Leftovers, key: str, job: Job) -> Slot | None:
        """Return what was left of *key*, unless it is too old, or known to be invalidated since its load."""
        if (left := leftovers.take(key)) is None:
            return None
        entry, loaded = left
        young = 0 <= self._monotonic() - loaded < min(UNCHECKED_LIFE, entry.ttl / 1000)
        if not young or not suits(entry, job.tags_of[key], job.terms):
            return None
        try:
            value = self._reader.value(entry, job.terms)
        except PayloadError:
            return None
        slot = self._reader.hold(key, entry, loaded, UNTRUSTED, value)
        known = self._near.passed(slot, int(loaded * _NANOSECONDS))
        return None if known or not job.terms.accept(slot, from_store=False) else slot
