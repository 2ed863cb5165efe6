"""What one process says of itself: its L1, its circuit, its pool, its backplane."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import msgspec
from msgspec import Struct

from cache_ext.coherence.backplane import BOUND, Trust
from cache_ext.reading.near import NearCache
from cache_ext.settings import CacheSettings
from cache_ext.stats.counts import Counts
from cache_ext.transport.breaker import State
from cache_ext.transport.connection import RedisGateway


class Member(Struct, frozen=True):
    """A process that runs the cache, as it was a second ago.

    Args:
        host, pid: where it runs.
        l1_keys, l1_bytes, l1_max_bytes: what it keeps itself, and may.
        circuit: what it thinks of Redis: closed, open, half-open.
        pool_idle, pool_used, pool_max: its connections.
        listens: whether it is to hear of invalidations; if not, its L1 asks Redis at every read.
        hears: whether it does: the backplane is live.
        bound_seconds: how far L1 may lag behind an invalidation at most while it hears.
        families: whose keys are, by the beginning that they have in common.
        origins: how they answered it last: when (Unix seconds), and whether they did.
        top_keys, top_tags: what is read most here, and about how often in this minute and the one before.
    """

    host: str
    pid: int
    l1_keys: int
    l1_bytes: int
    l1_max_bytes: int
    circuit: str
    pool_idle: int
    pool_used: int
    pool_max: int
    listens: bool
    hears: bool
    bound_seconds: float
    families: dict[str, str] = {}
    origins: dict[str, tuple[float, bool]] = {}
    top_keys: dict[str, int] = {}
    top_tags: dict[str, int] = {}


def describer(
    settings: CacheSettings,
    gateway: RedisGateway | None,
    near: NearCache,
    trust: Trust,
    counts: Counts,
    monotonic: Callable[[], float],
) -> Callable[[], Member]:
    """Return what describes this process as it is when it is called."""
    host, pid = socket.gethostname(), os.getpid()

    def describe() -> Member:
        keys, taken = near.sizes()
        idle, used = (0, 0) if gateway is None else gateway.connections()
        return Member(
            host=host,
            pid=pid,
            l1_keys=keys,
            l1_bytes=taken,
            l1_max_bytes=settings.l1_max_bytes,
            circuit=State.CLOSED if gateway is None else gateway.breaker.state,
            pool_idle=idle,
            pool_used=used,
            pool_max=0 if gateway is None else settings.pool_size,
            listens=gateway is not None and settings.pubsub,
            hears=monotonic() < trust.live_until,
            bound_seconds=BOUND,
            families=dict(counts.families),
            origins={} if settings.origins is None else dict(settings.origins(False)),
        )

    return describe


encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Member)


def decode(told: bytes) -> Member | None:
    """Return what a process said, None if that makes no sense."""
    try:
        return _decoder.decode(told)
    except msgspec.DecodeError:
        return None
