"""The numbers that the cache counts, for Prometheus. Module-level, as prometheus_client wants them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

from prometheus_client import Counter, Gauge, Histogram, Metric

DURATION_BUCKETS = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


_tallied: list[Tallied] = []


class Tallied(Counter):
    """A counter whose numbers wait in tallies until somebody looks, or `tell` is called."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.tallies: WeakSet[Any] = WeakSet()
        super().__init__(*args, **kwargs)
        if not self._labelvalues:  # else it is one of a parent's children
            _tallied.append(self)

    def tell(self) -> None:
        """Have all tallies bring what they counted."""
        for tally in tuple(self.tallies):
            tally.tell()

    def collect(self) -> Iterable[Metric]:
        """Return the numbers of this moment."""
        self.tell()
        return super().collect()


def tell_all() -> None:
    """Bring all that was counted in this process to Prometheus; its caches do so once a second."""
    for counter in _tallied:
        counter.tell()


requests = Tallied(
    "cache_requests",
    "Reads by cache (its policy's name), the layer that answered (l1, l2, origin, none) and outcome "
    "(hit, miss, stale, error).",
    ("cache", "layer", "outcome"),
)
load_duration = Histogram(
    "cache_load_duration_seconds", "Time that loaders took.", ("cache",), buckets=DURATION_BUCKETS
)
operation_duration = Histogram(
    "cache_operation_duration_seconds",
    "Round trips to Redis by operation (read, begin, fill, release, delete, invalidate, clear, limit, "
    "session, emit, other).",
    ("operation",),
    buckets=DURATION_BUCKETS,
)
evictions = Counter("cache_evictions", "Entries that had to make room, by layer (l1, l2).", ("layer",))
invalidations = Counter(
    "cache_invalidations", "Invalidations asked for here, by reason (tag, soft, key, clear).", ("reason",)
)
payload_errors = Counter("cache_payload_errors", "Stored bytes that could not be decoded: treated as misses.")
hook_events = Counter(
    "cache_hook_events",
    "Events emitted here (accepted, repeated, here, queued) and what became of them in hooks run here (done, "
    "failed, set_aside, undecodable, lost) or in following the stream (started_over), by outcome.",
    ("outcome",),
)
cdn_purges = Counter(
    "cdn_purges",
    "Names that a CDN was to forget, by outcome (done, failed: will be tried again, handed_on to other "
    "processes, given_up).",
    ("outcome",),
)
connections = Counter("redis_connections", "Connections to Redis opened.")
connection_errors = Counter(
    "redis_connection_errors",
    "Failed conversations with Redis by type (timeout, connection, response, pool).",
    ("type",),
)
backplane_gaps = Counter("cache_backplane_gaps", "Times that the backplane was interrupted.")
backplane_lag = Histogram(
    "cache_backplane_lag_seconds",
    "Round trip of the backplane's heartbeat, an upper bound of a message's delay.",
    buckets=DURATION_BUCKETS,
)

# Of the moment, set once a second by each process; those of processes that ended do not count.
redis_health = Gauge(
    "redis_health_status", "1 while every process reaches Redis, else 0.", multiprocess_mode="livemin"
)
circuit_state = Gauge(
    "redis_circuit_state",
    "Processes whose circuit is in this state (closed, open, half-open).",
    ("state",),
    multiprocess_mode="livesum",
)
pool_connections = Gauge(
    "redis_pool_connections",
    "Pooled connections by state (idle, used).",
    ("state",),
    multiprocess_mode="livesum",
)
memory_bytes = Gauge(
    "cache_memory_bytes", "Bytes held, by layer (l1, l2).", ("layer",), multiprocess_mode="livesum"
)
keys = Gauge(
    "cache_keys",
    "Keys in Redis by cache, as counted when somebody last asked for the numbers.",
    ("cache",),
    multiprocess_mode="livemostrecent",
)
staleness_bound = Gauge(
    "cache_backplane_staleness_bound_seconds",
    "How far an L1 hit may lag behind an applied invalidation at most.",
    multiprocess_mode="livemax",
)
event_lag = Gauge(
    "cache_event_lag_seconds",
    "How long the oldest event has waited that hooks or invalidation have not ended.",
    multiprocess_mode="livemax",
)
sessions_active = Gauge(
    "sessions_active",
    "Sessions that have not ended, as counted when somebody last asked for the numbers.",
    multiprocess_mode="livemostrecent",
)
sessions_unwritten = Counter(
    "sessions_unwritten", "Changed sessions that were not stored since Redis did not answer."
)
