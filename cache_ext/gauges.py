"""The numbers of the moment, for Prometheus: set once a second by each process."""

from __future__ import annotations

from cache_ext import metrics
from cache_ext.coherence.backplane import BOUND
from cache_ext.reading.near import NearCache
from cache_ext.transport.breaker import State
from cache_ext.transport.connection import RedisGateway


def set_gauges(gateway: RedisGateway, near: NearCache) -> None:
    """Set the gauges of this process."""
    state = gateway.breaker.state
    metrics.redis_health.set(state is State.CLOSED)
    for each in State:
        metrics.circuit_state.labels(each).set(state is each)
    for name, count in zip(("idle", "used"), gateway.connections(), strict=True):
        metrics.pool_connections.labels(name).set(count)
    metrics.memory_bytes.labels("l1").set(near.sizes()[1])
    metrics.staleness_bound.set(BOUND)
