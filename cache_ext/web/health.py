"""How well a cache and what stands behind it are, in three words that an on-call engineer acts on."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from cache_ext.engine import TieredCache
from cache_ext.errors import StoreUnavailable


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
