"""The Redis of what must not be evicted: limits and sessions. It is the cache's, unless another is named."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from cache_ext import TieredCache
from cache_ext.transport.commands import info_field
from cache_ext.transport.connection import RedisGateway
from cache_ext.transport.greeting import Ask, Lies
from cache_ext.transport.opening import make_gateway
from shivx.config import Settings

log = logging.getLogger(__name__)

EVICTS_ALL = "allkeys-"
"""What the names of policies begin with that evict what has no ttl, or has it for a reason."""


def open_state(
    settings: Settings, cache: TieredCache, before_connect: Callable[[], None] | None
) -> TieredCache:
    """Return the cache whose gateway leads to that Redis: *cache* itself, or one made for nothing else.

    Limits hold with SHIVX_CACHE_ENABLED off too. Nothing is connected yet; once it is, a policy that may
    evict what is kept there is named in a warning.
    """
    url = cache.settings.redis_url
    if settings.redis_state_url is not None and settings.redis_state_url != settings.redis_url:
        url = settings.redis_state_url.get_secret_value()
    state = cache
    if url != cache.settings.redis_url or not settings.cache_enabled:
        own = replace(
            cache.settings,
            redis_url=url,
            enabled=True,
            monitoring=False,  # the gauges are those of the cache's Redis
            pubsub=False,
            l1_max_bytes=0,
            host_dir=None,  # the journal there is the cache's
        )
        state = TieredCache(own, make_gateway(own, before_connect=before_connect))
    if state.gateway is not None:
        _watch_policy(state.gateway)
    return state


def _watch_policy(gateway: RedisGateway) -> None:
    """Warn of a policy that may evict, once for each run of the server."""
    warned: set[str] = set()  # several connections may be made at once

    def look(run_id: str, ask: Ask, lies_here: Lies) -> None:
        policy = info_field(ask([("INFO", "memory")])[0], b"maxmemory_policy")
        if policy.startswith(EVICTS_ALL) and run_id not in warned:
            warned.add(run_id)
            log.warning(
                "the Redis of limits and sessions evicts by %s, so it may forget both; "
                "SHIVX_REDIS_STATE_URL can name another",
                policy,
            )

    gateway.on_new_server("state-policy", look)
