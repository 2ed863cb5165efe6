"""What Redis says of itself, as far as a cache depends on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from cache_ext.errors import StoreUnavailable
from cache_ext.stats.gathering import PATIENCE
from cache_ext.transport.budget import budget
from cache_ext.transport.commands import info_field
from cache_ext.transport.connection import RedisGateway
from cache_ext.transport.server import Server


class RedisFacts(Struct, frozen=True):
    """Redis, as it is now; of the primaries of a cluster all together, but for what is said otherwise.

    Args:
        version: of the server.
        role: ``master``, or ``slave`` for a replica, to which nothing can be written, if one is that.
        uptime_seconds: since the last one was started; it began empty then, unless it keeps data on disk.
        memory_bytes, max_memory_bytes: that it uses, and may; null if there is no bound.
        memory_share: the one as a share of the other, on the fullest server; null if there is no bound.
        policy: which keys go when there is no more room; ``noeviction``: none, writes fail.
        evicted_keys: since it was started.
        clients, max_clients: connections of everybody, and how many there may be.
        rejected_connections: since it was started: there were too many.
        latency_seconds: of a round trip from this process, the shortest of a few made now, to the farthest.
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
    with budget(PATIENCE, administrative=True):
        servers = gateway.way.servers().values()
        return _together([_facts(gateway, server, monotonic) for server in servers])


def _facts(gateway: RedisGateway, server: Server, monotonic: Callable[[], float]) -> RedisFacts:
    (info,) = gateway.run_on(server, [("INFO",)])
    latencies = []
    for _ in range(_TRIES):
        began = monotonic()
        gateway.run_on(server, [("PING",)])
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


def _together(each: Sequence[RedisFacts]) -> RedisFacts:
    """Return what several servers are together."""
    if not each:
        raise StoreUnavailable("no server is known that keys lie on")
    if len(each) == 1:
        return each[0]
    bounds = [facts.max_memory_bytes for facts in each if facts.max_memory_bytes is not None]
    shares = [facts.memory_share for facts in each if facts.memory_share is not None]
    clients = [facts.max_clients for facts in each if facts.max_clients is not None]
    return RedisFacts(
        version=each[0].version,
        role=next((facts.role for facts in each if facts.role != "master"), "master"),
        uptime_seconds=min(facts.uptime_seconds for facts in each),
        memory_bytes=sum(facts.memory_bytes for facts in each),
        max_memory_bytes=sum(bounds) if len(bounds) == len(each) else None,
        memory_share=max(shares, default=None),
        policy=", ".join(dict.fromkeys(facts.policy for facts in each)),
        evicted_keys=sum(facts.evicted_keys for facts in each),
        clients=sum(facts.clients for facts in each),
        max_clients=sum(clients) if len(clients) == len(each) else None,
        rejected_connections=sum(facts.rejected_connections for facts in each),
        latency_seconds=max(facts.latency_seconds for facts in each),
    )
