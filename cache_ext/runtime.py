"""What one process needs to run a cache: its parts, joined, started and stopped together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from cache_ext import events, metrics
from cache_ext.codec.entries import EntryCodec
from cache_ext.codec.values import ValueCodec
from cache_ext.coherence.backplane import Backplane, Trust
from cache_ext.coherence.effects import Effects
from cache_ext.errors import StoreUnavailable
from cache_ext.explain.memory import Memory
from cache_ext.gauges import set_gauges
from cache_ext.hooks.emitting import Hooks
from cache_ext.hooks.registry import Registry
from cache_ext.keys import KeySpace
from cache_ext.loading.background import MAX_REFRESHES, MAX_TIMED, Background
from cache_ext.loading.failures import Failures
from cache_ext.loading.filling import Filler
from cache_ext.loading.flights import Flights
from cache_ext.loading.flying import Flying
from cache_ext.loading.host import HostOrigin
from cache_ext.loading.late import LateTags
from cache_ext.loading.leftovers import Leftovers
from cache_ext.loading.loads import Loading
from cache_ext.loading.origin import Origin
from cache_ext.loading.putting import Putter
from cache_ext.loading.refreshing import Refresher
from cache_ext.loading.upkeep import Leases, Upkeep
from cache_ext.parts import make_outbox, make_store, meeting_folder
from cache_ext.reading.looking import Looks
from cache_ext.reading.near import NearCache
from cache_ext.reading.reader import Reader
from cache_ext.settings import CacheSettings
from cache_ext.stats.counts import Counts
from cache_ext.stats.members import describer
from cache_ext.stats.own import OwnStats
from cache_ext.stats.sampling import Sampler
from cache_ext.stores.local import NullStore
from cache_ext.stores.redis import RedisStore
from cache_ext.transport.budget import current_budget
from cache_ext.transport.connection import RedisGateway
from cache_ext.transport.subscription import Subscription

CLOSE_PATIENCE = 5.0
"""Seconds that closing waits for each load under way."""


class Runtime:
    """The parts of one cache in one process. After a fork the child makes itself a new one.

    Args:
        settings: how the cache is set up.
        gateway: the way to Redis, None for a cache that shares with nobody.
        codec: how entries travel.
        monotonic: the clock, seconds.
        announce: calls the receivers of signals.
    """

    hooks: Hooks | None = None

    def __init__(
        self,
        settings: CacheSettings,
        gateway: RedisGateway | None,
        codec: EntryCodec,
        monotonic: Callable[[], float] = time.monotonic,
        announce: events.Announce = events.unheard,
    ) -> None:
        self.settings = settings
        self.monotonic, self.announce = monotonic, announce
        self.codec = codec
        self.gateway = gateway
        self.counts = Counts()
        self.tally = self.counts.reads
        if gateway is not None:
            gateway.trips = self.counts.trips
            gateway.breaker.reset(events.circuit_changes(announce))
        self.keyspace = KeySpace(settings.namespace)
        self.store = make_store(settings, gateway, self.keyspace)
        l1_bytes = 0 if isinstance(self.store, NullStore) else settings.l1_max_bytes
        self.near = NearCache(l1_bytes, monotonic, events.evictions(announce, self.counts.evicted))
        self.flights = Flights()
        self.memory = Memory(self.store.name, self.near, monotonic)
        self.effects = Effects(self.near, self.flights, self.memory, monotonic, self._wake, announce)
        self.outbox = make_outbox(settings, gateway, self.effects.queued, monotonic)
        self._leases = Leases()
        self._backplane: Backplane | None = None
        self._upkeep: Upkeep | None = None
        self._lock = threading.Lock()
        self._settled, self._settle_by = False, 0.0
        self.trust = self.memory.trust = self._make_trust()
        self.reader = Reader(self.store, self.near, codec, self.trust, self.outbox, monotonic)
        self.looks = Looks(self.reader, self.near, self.trust, monotonic)
        self._make_loading(codec)
        describe = describer(settings, gateway, self.near, self.trust, self.counts, monotonic)
        told = gateway if settings.monitoring else None
        self.sampler = Sampler()
        self.stats = OwnStats(told, self.keyspace, self.counts, describe, self.sampler, monotonic)

    def _make_loading(self, codec: EntryCodec) -> None:
        """Join what loads and stores."""
        self.failures = Failures(self.monotonic)
        self._timed = Background(MAX_TIMED, "cache-ext-load")
        self.refreshes = Background(MAX_REFRESHES, "cache-ext-refresh")
        filler = Filler(self.store, codec, self._leases)
        self.origin = self._make_origin(codec)
        flying = Flying(self.origin, filler, self.near, self.flights, self._leases, self.failures)
        self.loading = Loading(
            self.store,
            self.near,
            self.reader,
            flying,
            self.flights,
            self._timed,
            self.outbox,
            self.trust,
            self.monotonic,
            self.counts.coalesced,
        )
        self.putter = Putter(
            self.store,
            self.near,
            self.loading,
            self.origin,
            filler,
            self.flights,
            self.outbox,
            self.monotonic,
        )
        self.refresher = Refresher(
            self.loading, self.flights, self.failures, self.refreshes, self.monotonic, self.counts.refreshed
        )

    def start(self, patient: bool = False) -> None:
        """Start the threads, once, and wait until Redis was asked whether it answers.

        Args:
            patient: wait for as long as that takes, not only for what a request may spend on Redis.
        """
        if self._settled:
            return
        if (upkeep := self._launch()) is None:
            self._settled = True
            return
        spending, started = current_budget(), self.monotonic()
        left = self._settle_by - started if spending is None else spending.left
        self._settled = upkeep.arrived.wait(None if patient else max(0.0, left))
        if spending is not None:
            spending.spend(self.monotonic() - started)

    def _launch(self) -> Upkeep | None:
        """Start the threads, if that has not been done; None if there is nothing to look after."""
        with self._lock:
            if self._upkeep is not None or self.gateway is None:
                return self._upkeep
            self.outbox.open()
            self._settle_by = self.monotonic() + self.settings.op_timeout
            self._upkeep = Upkeep(
                self.store,
                self._leases,
                self.gateway.breaker,
                self.gateway.probe,
                self.outbox.tend,
                self._each_second,
                self.monotonic,
            )
            self._upkeep.start()
            self.gateway.way.watch(self.gateway.breaker.hurry)
            if self._backplane is not None:
                self._backplane.start()
            return self._upkeep

    def close(self) -> None:
        """Wait for the loads under way and stop the threads."""
        for background in (self.refreshes, self._timed):
            background.close(CLOSE_PATIENCE)
        self.memory.close()
        if self.hooks is not None:
            self.hooks.close(CLOSE_PATIENCE)
        if events.close.receivers:
            self.announce(events.close, events.Closing())
        with self._lock:
            if self._upkeep is not None:
                if self._backplane is not None:
                    self._backplane.stop()
                self._upkeep.stop()
                with suppress(StoreUnavailable):
                    self.stats.leave()
        self.outbox.close()
        if self.gateway is not None:
            self.gateway.close()
        metrics.tell_all()

    def add_hooks(self, registry: Registry, values: ValueCodec) -> Hooks:
        """Let this process emit events, and run the hooks of *registry*."""
        self.hooks = Hooks(
            registry, self.gateway, self.keyspace, values, self.settings, self.start, self.monotonic
        )
        return self.hooks

    def _wake(self, names: Iterable[str]) -> None:
        if self.hooks is not None:
            self.hooks.wake(*names)

    def _make_origin(self, codec: EntryCodec) -> HostOrigin:
        late = LateTags(self.store, self.trust.positions)
        origin = Origin(self.reader, codec, late, self.monotonic, self.announce, self.counts.loaded)
        folder = meeting_folder(self.settings, self.gateway)
        self._leftovers = Leftovers(folder, codec, self.monotonic) if folder else None
        return HostOrigin(origin, self._leftovers, self.reader, self.near, self.outbox, self.monotonic)

    def _make_trust(self) -> Trust:
        if self.gateway is None or not isinstance(self.store, RedisStore):
            return Trust(live_until=float("inf"), positions=self.store.positions)
        way = self.gateway.way

        def subscribe(channels: Sequence[str]) -> Subscription:
            if self._upkeep is not None:
                self._upkeep.arrived.wait()  # until then the circuit refuses what comes after subscribing
            return Subscription(way, channels)

        if not self.settings.pubsub:
            return Trust()
        self._backplane = Backplane(
            subscribe,
            self.keyspace.channels,
            heard=self.effects.heard,
            gap=self.effects.gap,
            returning=self.outbox.catch_up,
            positions=self.store.positions,
            monotonic=self.monotonic,
        )
        self.memory.connect(self.gateway, self.keyspace, self._backplane.connected.wait)
        return self._backplane.trust

    def _each_second(self) -> None:
        metrics.tell_all()
        if self._leftovers is not None:
            self._leftovers.sweep()
        if self.gateway is not None and self.settings.monitoring:
            set_gauges(self.gateway, self.near)
        if self.hooks is not None:
            self.hooks.tick()
        with suppress(StoreUnavailable):
            self.stats.tick()
