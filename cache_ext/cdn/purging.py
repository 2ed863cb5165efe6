"""From a cache's invalidations to the purges of a CDN: twice in time, by whoever lives, none forgotten."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from cache_ext import events, metrics
from cache_ext.cdn.debts import Debts
from cache_ext.cdn.ledger import MAX_NAMES, Ledger
from cache_ext.cdn.names import SurrogateNames, is_name
from cache_ext.cdn.purgers import BATCH, Purger
from cache_ext.cdn.worker import GIVE_UP_AFTER, PurgeWorker
from cache_ext.engine import TieredCache
from cache_ext.errors import StoreUnavailable
from cache_ext.hooks.event import Event, Fate
from cache_ext.transport.breaker import State

log = logging.getLogger(__name__)

EVENT = "cache_ext.cdn.owed"
"""Emitted by a process that ends, with the purges that others are to do: ``[seconds, [name, …]]``."""
CLOSE_PATIENCE = 2.0
"""Seconds that closing waits for what is to be purged at once."""


class Purging:
    """Has a CDN forget what is invalidated in *cache*, by whichever process asked for that invalidation.

    Twice: at once, and again when every answer must have arrived that the CDN had begun to fetch before. What
    was invalidated while Redis was away is purged twice more when it is back: until then other hosts, which
    had not heard of it, may have given the CDN what they had.

    What this process still owes when its cache closes is handed on, through Redis, to whoever has such an
    object for the same namespace, be it after the next start.

    Args:
        cache: is not kept alive.
        names: of its tags.
        purger: tells the CDN.
        again_after: seconds from an invalidation to its second purge; see docs/cdn.md for how to choose it.
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(
        self,
        cache: TieredCache,
        names: SurrogateNames,
        purger: Purger,
        *,
        again_after: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = names
        self._purger = purger
        self._again_after = again_after
        self._monotonic = monotonic
        self._redis = (cache.gateway, cache.runtime.keyspace)
        self._begin()
        events.invalidate.connect(self._invalidated, sender=cache)
        events.circuit.connect(self._circuit_changed, sender=cache)
        events.close.connect(self._closing, sender=cache)
        cache.hooks.registry.each_second = self._each_second
        cache.hooks.on(EVENT, name="purge")(self._take_over)
        myself = weakref.ref(self)

        def after_fork() -> None:
            if purging := myself():
                purging._begin()

        os.register_at_fork(after_in_child=after_fork)

    def _begin(self) -> None:
        ledger = Ledger(self._names.everything, self._again_after, GIVE_UP_AFTER)
        self._worker = PurgeWorker(self._purger, ledger, self._monotonic, self._confirmed)
        self._debts = self._open_debts()
        self._lock = threading.Lock()
        self._untold: set[str] = set()
        """Names purged while Redis was away, to be purged once more when it is back."""
        self._unowed: set[str] = set()
        """Names whose purges only this process knows of: Redis could not note them yet."""

    def _open_debts(self) -> Debts | None:
        gateway, keyspace = self._redis
        if gateway is None:
            return None
        everything = self._names.everything
        return Debts(gateway, keyspace, everything, self._again_after, GIVE_UP_AFTER, self._monotonic)

    def _purge(self, names: Collection[str]) -> None:
        """Purge *names*, now and again; once Redis has noted it, whoever of the fleet lives."""
        self._worker.purge(self._owed(names))

    def _owed(self, names: Collection[str]) -> Collection[str]:
        """Have Redis note that *names* are owed, soon if it cannot now; return what is to be purged."""
        if self._debts is None:
            return names
        try:
            return self._debts.owe(names)
        except StoreUnavailable:
            with self._lock:
                self._unowed = self._bounded(self._unowed | set(names))
            return names

    def _bounded(self, names: set[str]) -> set[str]:
        return names if len(names) <= MAX_NAMES else {self._names.everything}

    def _each_second(self) -> None:
        """Owe what could not be owed; purge what others should have: they were killed, or the CDN refuses."""
        with self._lock:
            unowed, self._unowed = self._unowed, set()
        if unowed:
            self._owed(unowed)
        if self._debts is not None:
            with suppress(StoreUnavailable, RuntimeError):
                if names := self._debts.overdue():
                    self._worker.owe(names, 0.0)

    def _confirmed(self, names: Collection[str], since: float) -> None:
        if self._debts is not None:
            with suppress(StoreUnavailable):
                self._debts.paid(names, since)

    def _invalidated(self, sender: TieredCache, event: events.Invalidated) -> None:
        if not event.here:
            return  # who asked for it sees to it
        names = {self._names.everything} if event.everything else self._names.purged_with(event.tags)
        if not names:
            return  # of keys alone: what was made of a value stays valid when it is deleted, as in the cache
        if not event.applied:
            with self._lock:
                self._untold = self._bounded(self._untold | names)
        self._purge(names)

    def _circuit_changed(self, sender: TieredCache, event: events.CircuitChanged) -> None:
        if event.state == State.CLOSED:
            with self._lock:
                names, self._untold = self._untold, set()
            if names:
                self._purge(names)

    def _closing(self, sender: TieredCache, event: events.Closing) -> None:
        for seconds, names in self._worker.close(CLOSE_PATIENCE).items():
            listed = sorted(names)
            for start in range(0, len(listed), BATCH):
                self._hand_on(sender, seconds, listed[start : start + BATCH])

    def _hand_on(self, cache: TieredCache, seconds: float, names: list[str]) -> None:
        try:
            fate = cache.hooks.emit(EVENT, [seconds, names]).fate
        except StoreUnavailable:
            fate = Fate.QUEUED
        if fate is Fate.ACCEPTED:
            metrics.cdn_purges.labels("handed_on").inc(len(names))
            return
        metrics.cdn_purges.labels("given_up").inc(len(names))
        log.error("%d names were given up: this process ends, and Redis cannot pass them on", len(names))

    def _take_over(self, event: Event) -> None:
        seconds, names = event.data
        self._worker.owe(_valid(names), min(float(seconds), self._again_after))


def _valid(names: Iterable[object]) -> list[str]:
    """Return those of *names*, which came through Redis, that can be names: no other may reach the CDN."""
    return [name for name in names if isinstance(name, str) and is_name(name)]
