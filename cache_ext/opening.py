"""Opening a cache without Flask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import redis

from cache_ext.engine import TieredCache
from cache_ext.errors import ConfigurationError
from cache_ext.settings import CacheSettings
from cache_ext.transport.opening import make_gateway


def open_cache(
    redis_url: str = "memory://",
    *,
    redis: redis.Redis | None = None,
    before_connect: Callable[[], None] | None = None,
    **settings: Any,
) -> TieredCache:
    """Open a cache without Flask.

    Args:
        redis_url: see `CacheSettings.redis_url`.
        redis: a ready client instead; its address and credentials are used, with a pool of our own.
        before_connect: called before new connections outside of requests; may start a server.
        settings: other fields of `CacheSettings`.
    Raises:
        ConfigurationError: a setting makes no sense.
    """
    if unknown := sorted(settings.keys() - {field.name for field in fields(CacheSettings)}):
        raise ConfigurationError(f"unknown settings: {', '.join(unknown)}")
    made = CacheSettings(redis_url="redis://" if redis is not None else redis_url, **settings)
    return TieredCache(made, make_gateway(made, before_connect=before_connect, client=redis))
