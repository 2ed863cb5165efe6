"""What Redis says of itself, as far as a cache depends on it."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from cache_ext.stats.gathering import ask
from cache_ext.transport.commands import info_field
from cache_ext.transport.connection import RedisGateway


class RedisFacts(Struct, frozen=True):
    """Redis, as it is now.

    Args:
        version: of the server.
        role: ``master``, or ``slave`` for a replica, to which nothing can be written.
        uptime_seconds: since it was started; it began empty then, unless it keeps its data on disk.
        memory_bytes, max_memory_bytes: that it uses, and may; null if there is no bound.
        memory_share: the one as a share of the other; null if there is no bound.
        policy: which keys go when there is no more room; ``noeviction``: none, writes fail.
        evicted_keys: since it was started.
        clients, max_clients: connections of everybody, and how many there may be.
        rejected_connections: since it was started: there were too many.
        latency_seconds: of a round trip from this process, the shortest of a few made now.
    """

    version: str
    role: str
    uptime_seconds: int
    memory_bytes: int
    max_memory_bytes: int | None
    memory_share: float | None
    policy: str
    evicted_keys: int
    clients: int
    max_clients: int | None
    rejected_connections: int
    latency_seconds: float


_TRIES = 3
"""Round trips that are timed: the shortest is the network's, the others tell of this process too."""


def redis_facts(gateway: RedisGateway, monotonic: Callable[[], float] = time.monotonic) -> RedisFacts:
    """Ask Redis. Raises StoreUnavailable."""
    (info,) = ask(gateway, [("INFO",)])
    latencies = []
    for _ in range(_TRIES):
        began = monotonic()
        ask(gateway, [("PING",)])
        latencies.append(monotonic() - began)

    def text(name: str) -> str:
        return info_field(info, name.encode())

    def number(name: str) -> int:
        return int(found) if (found := text(name)).isdecimal() else 0

    memory, most = number("used_memory"), number("maxmemory") or None
    return RedisFacts(
        version=text("valkey_version") or text("redis_version"),
        role=text("role"),
        uptime_seconds=number("uptime_in_seconds"),
        memory_bytes=memory,
        max_memory_bytes=most,
        memory_share=None if most is None else round(memory / most, 4),
        policy=text("maxmemory_policy"),
        evicted_keys=number("evicted_keys"),
        clients=number("connected_clients"),
        max_clients=number("maxclients") or None,
        rejected_connections=number("rejected_connections"),
        latency_seconds=round(min(latencies), 6),
    )
