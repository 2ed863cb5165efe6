"""What an invalidation, from here or from another process, does to this process' copies and loads."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cache_ext import events
from cache_ext.coherence.messages import Message, as_event
from cache_ext.coherence.reasons import UNKNOWN
from cache_ext.coherence.records import Names
from cache_ext.entry import Version
from cache_ext.explain.memory import Memory
from cache_ext.loading.flights import Flights
from cache_ext.reading.near import NearCache


class Effects:
    """Acts on L1 and the loads under way.

    Args:
        monotonic: the clock, seconds.
        memory: remembers what was invalidated, and answers those who ask.
        woken: called with the names of a message of kind ``h``: events for these hooks wait.
        announce: calls the receivers of signals, with what other processes invalidated.
    """

    def __init__(
        self,
        near: NearCache,
        flights: Flights,
        memory: Memory,
        monotonic: Callable[[], float],
        woken: Callable[[Iterable[str]], None],
        announce: events.Announce = events.unheard,
    ) -> None:
        self._announce = announce
        self._memory = memory
        self._signature = memory.signature
        self._near = near
        self._flights = flights
        self._monotonic = monotonic
        self._woken = woken

    def heard(self, message: Message) -> None:
        """Do here what another process (or this one) did in Redis."""
        self._memory.heard(message)
        names, version = message.names, Version(message.stamp, message.sequence)
        match message.kind:
            case "i":
                self._flights.outdate(tags=names)
                self._near.invalidate(names, version)
            case "s":
                self.soften(names, version)
            case "d":
                self._flights.outdate(keys=names)
                self._near.delete(names)
                self._flights.wake(names)
            case "f":
                for key in names:
                    self._near.replaced(key, message.stamp)
                self._flights.wake(names)
            case "r":
                self._flights.wake(names)
            case "h":
                self._woken(names)
            case "e":
                self._near.clear()
                self.gap()
        if events.invalidate.receivers and message.sender != self._signature and (event := as_event(message)):
            self._announce(events.invalidate, event)

    def queued(self, names: Names) -> None:
        """Do here what another process of the host queued, to be done in Redis when it is back."""
        self._apply_queued(names)
        by = UNKNOWN._replace(reason="queued by another process of this host")
        note = self._memory.invalidations.note
        if names.everything:
            note("everything", (), by, applied=False)
        if names.tags:
            note("tags", tuple(names.tags), by, applied=False)
        if names.soft:
            note("tags, softly", tuple(names.soft), by, applied=False)
        if names.keys:
            note("keys", tuple(names.keys), by, applied=False)
        if events.invalidate.receivers:
            tags, keys = tuple(names.tags), tuple(names.keys)
            if tags or keys or names.everything:
                event = events.Invalidated(tags, keys, names.everything, applied=False, here=False)
                self._announce(events.invalidate, event)
            if names.soft:
                event = events.Invalidated(tuple(names.soft), soft=True, applied=False, here=False)
                self._announce(events.invalidate, event)

    def _apply_queued(self, names: Names) -> None:
        if names.everything:
            self._near.clear()
            self._flights.outdate_all()
            return
        self._near.invalidate(names.tags)
        self._near.delete(names.keys)
        self._flights.outdate(names.keys, names.tags)
        self.soften(names.soft)

    def soften(self, tags: Iterable[str], since: Version | None = None) -> None:
        """Let what this process has under *tags*, made before their version *since*, be stale from now on."""
        tags = tuple(tags)
        self._flights.outdate(tags=tags)
        self._near.soften(tags, self._monotonic(), since)

    def gap(self) -> None:
        """Messages may have been lost: nobody joins what started before, who waits looks again."""
        self._flights.outdate_all()
        self._flights.wake_all()
