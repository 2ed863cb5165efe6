"""The thread that does what must go on while nobody asks: probes, queued invalidations, leases, gauges."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from cache_ext.errors import StoreUnavailable
from cache_ext.stores.base import Store
from cache_ext.transport.breaker import CircuitBreaker

log = logging.getLogger(__name__)

ROUND = 0.1
"""Seconds between rounds; the shortest cooldown that makes sense is a few of them."""
SECOND = 1.0
"""Seconds between renewals of leases, a third of their life: two may fail before one is lost."""


class Leases:
    """The leases that this process holds, by token, so that they can be renewed while their load goes on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[bytes, frozenset[str]] = {}

    def hold(self, token: bytes, keys: frozenset[str]) -> None:
        """Note that *keys* are being loaded under *token*."""
        with self._lock:
            self._held[token] = keys

    def drop(self, token: bytes) -> None:
        """Forget the leases of *token*."""
        with self._lock:
            self._held.pop(token, None)

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
        self._stopped = threading.Event()
        self._second_at = 0.0
        self._thread = threading.Thread(target=self._run, name="cache-ext-upkeep", daemon=True)

    def start(self) -> None:
        """Start the rounds."""
        self._thread.start()

    def stop(self) -> None:
        """End the rounds; returns when the thread has ended."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(ROUND):
            try:
                self.round()
            except StoreUnavailable:
                continue
            except Exception:
                log.exception("upkeep failed")

    def round(self) -> None:
        """Do what is due."""
        if self._breaker.probe_due():
            ok = False
            try:
                ok = self._probe()
            finally:
                self._breaker.probed(ok)
        if self._monotonic() >= self._second_at:
            self._second_at = self._monotonic() + SECOND
            self._observe()
            self._leases.renew(self._store)
        self._settle(self._store)
