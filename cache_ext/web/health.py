"""How well a cache and what stands behind it are, in three words that an on-call engineer acts on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum

from cache_ext.engine import TieredCache
from cache_ext.errors import StoreUnavailable
from cache_ext.stats.gathering import members_of


class Status(StrEnum):
    """HEALTHY; DEGRADED: something is away and all is served still; UNHEALTHY: nothing can be served."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


def store_answers(cache: TieredCache) -> bool:
    """Ask Redis, within one request's budget, whether it answers; a cache without Redis always does."""
    if cache.gateway is None:
        return True
    cache.start()
    try:
        cache.gateway.run([("PING",)])
    except StoreUnavailable:
        return False
    return True


def origins_known(cache: TieredCache, *, ask_store: bool, ask_origins: bool = False) -> dict[str, bool]:
    """Return whether each origin answers, as the process says that asked it last.

    Args:
        ask_store: learn what other processes know of them; else it is what this one knows.
        ask_origins: ask those that this process has not asked yet.
    """
    told = [] if cache.settings.origins is None else [cache.settings.origins(ask_origins)]
    if ask_store and cache.gateway is not None:
        with suppress(StoreUnavailable):
            told += [member.origins for member in members_of(cache.gateway, cache.runtime.keyspace)[1]]
    latest: dict[str, tuple[float, bool]] = {}
    for origins in told:
        for name, answered in origins.items():
            latest[name] = max(answered, latest.get(name, answered))
    return {name: answers for name, (_, answers) in sorted(latest.items())}


def judge(store: bool, origins: Mapping[str, bool]) -> Status:
    """Return the status that follows from whether the store and each origin answer.

    Args:
        origins: by name; none if nothing is known of them: then loaders are taken to work.
    """
    if store and all(origins.values()):
        return Status.HEALTHY
    if store or not origins or any(origins.values()):
        return Status.DEGRADED
    return Status.UNHEALTHY
