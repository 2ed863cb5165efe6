"""Making the way to the Redis that the settings name."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import redis

from cache_ext.settings import CacheSettings
from cache_ext.transport.breaker import CircuitBreaker
from cache_ext.transport.connection import RedisGateway


def make_gateway(
    settings: CacheSettings,
    monotonic: Callable[[], float] = time.monotonic,
    before_connect: Callable[[], None] | None = None,
    client: redis.Redis | None = None,
) -> RedisGateway | None:
    """Return the way to the Redis of *settings* or *client*, None for ``memory://`` and ``null://``."""
    if urlsplit(settings.redis_url).scheme in ("memory", "null") or not settings.enabled:
        return None
    breaker = CircuitBreaker(settings.breaker_failures, settings.breaker_cooldown, monotonic)
    return RedisGateway(
        settings, breaker, monotonic=monotonic, before_connect=before_connect, options=_address(client)
    )


def _address(client: redis.Redis | None) -> dict[str, Any] | None:
    """Return where *client* connects to, and as whom."""
    if client is None:
        return None
    pool = client.connection_pool
    wanted = ("host", "port", "path", "db", "username", "password", "credential_provider")
    options = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if name in wanted or name.startswith("ssl_")
    }
    return options | {"connection_class": pool.connection_class}
