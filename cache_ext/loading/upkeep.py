"""The thread that does what must go on while nobody asks: probes, queued invalidations, leases, gauges."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Collection

from cache_ext.errors import CircuitOpen, StoreUnavailable
from cache_ext.stores.base import Store
from cache_ext.transport.breaker import CircuitBreaker

log = logging.getLogger(__name__)

ROUND = 0.1
"""Seconds between rounds; the shortest cooldown that makes sense is a few of them."""
MOST_ORPHANS = 1_000
"""Loads whose leases are given back; of more than that, the oldest are left to expire."""
AFTERMATH = 3.0
"""Seconds, a lease's life, for which an orphaned lease is given back again and again once the store answers.

A store that hung, or a line that did, may carry out what it was asked long ago after what it is asked now.
"""
SECOND = 1.0
"""Seconds between renewals of leases, a third of their life: two may fail before one is lost."""


class _Orphan:
    """Leases that may have been granted to somebody who has given up, and until when to give them back."""

    __slots__ = ("forget_at", "keys")

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = keys
        self.forget_at = math.inf


class Leases:
    """The leases of this process, by token: renewed while their load goes on, given back if it is off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[bytes, frozenset[str]] = {}
        self._orphans: dict[bytes, _Orphan] = {}

    def hold(self, token: bytes, keys: frozenset[str]) -> None:
        """Note that *keys* are being loaded under *token*."""
        with self._lock:
            self._held[token] = keys

    def drop(self, token: bytes) -> None:
        """Forget the leases of *token*."""
        with self._lock:
            self._held.pop(token, None)

    def orphan(self, token: bytes, keys: Collection[str], because: StoreUnavailable | None = None) -> None:
        """Note that *token* may have been given the leases of *keys*, or may be, and nobody is to use them.

        Args:
            because: what came instead of the leases; if it says that nobody was asked, there are none.
        """
        if isinstance(because, CircuitOpen):
            return
        with self._lock:
            self._orphans[token] = _Orphan(tuple(keys))
            if len(self._orphans) > MOST_ORPHANS:
                del self._orphans[next(iter(self._orphans))]

    def release(self, store: Store, now: float) -> None:
        """Give back all that are orphaned; forget those that cannot come up any more.

        Args:
            now: seconds on the monotonic clock.
        """
        with self._lock:
            orphans = dict(self._orphans)
        for token, orphan in orphans.items():
            store.release(orphan.keys, token)
            orphan.forget_at = min(orphan.forget_at, now + AFTERMATH)
        with self._lock:
            for token in [token for token, orphan in orphans.items() if now >= orphan.forget_at]:
                self._orphans.pop(token, None)

    def renew(self, store: Store) -> None:
        """Prolong all of them."""
        with self._lock:
            held = dict(self._held)
        for token, keys in held.items():
            store.renew(keys, token)


class Upkeep:
    """A thread that renews *leases* in *store* and probes through *breaker*.

    Args:
        probe: asks the store whether it answers; True closes the circuit.
        settle: tells the store what was invalidated without it.
        observe: sets the gauges.
        monotonic: the clock, seconds.
    """

    def __init__(
        self,
        store: Store,
        leases: Leases,
        breaker: CircuitBreaker,
        probe: Callable[[], bool],
        settle: Callable[[Store], None],
        observe: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._leases = leases
        self._breaker = breaker
        self._probe = probe
        self._settle = settle
        self._observe = observe
        self._monotonic = monotonic
        self.arrived = threading.Event()
        self._stopped = threading.Event()
        self._second_at = 0.0
        self._thread = threading.Thread(target=self._run, name="cache-ext-upkeep", daemon=True)

    def start(self) -> None:
        """Start with a probe, after which `arrived` is set; until then the circuit lets nobody through."""
        self._breaker.await_probe()
        self._thread.start()

    def stop(self) -> None:
        """End the rounds; returns when the thread has ended."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._ask()
        except Exception:
            log.exception("the first probe failed")
        finally:
            self.arrived.set()
        while not self._stopped.wait(ROUND):
            try:
                self.round()
            except StoreUnavailable:
                continue
            except Exception:
                log.exception("upkeep failed")

    def _ask(self) -> None:
        """Find out whether the store answers, and tell the circuit."""
        ok = False
        try:
            ok = self._probe()
        finally:
            self._breaker.probed(ok)

    def round(self) -> None:
        """Do what is due."""
        if self._breaker.probe_due():
            self._ask()
        if self._monotonic() >= self._second_at:
            self._second_at = self._monotonic() + SECOND
            self._observe()
            self._leases.renew(self._store)
        self._settle(self._store)
        self._leases.release(self._store, self._monotonic())
