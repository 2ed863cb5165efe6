"""The pytest fixture: a cache for each test. Name this module in ``pytest_plugins``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from cache_ext.engine import TieredCache
from cache_ext.opening import open_cache

URL_VARIABLE = "CACHE_EXT_TEST_REDIS_URL"
"""Environment variable that names the Redis to test against; without it the cache is one of this process."""
PATIENCE = 1.0
"""Seconds that a call may spend on Redis: a busy test machine shall not be taken for a dead server."""


@pytest.fixture
def cache_ext_cache() -> Iterator[TieredCache]:
    """A fresh cache of a namespace of its own, which is removed from Redis after the test."""
    namespace = f"test-{secrets.token_hex(6)}"
    url = os.environ.get(URL_VARIABLE, "memory://")
    # Without monitoring: it would leave its last figures behind.
    cache = open_cache(url, namespace=namespace, op_timeout=PATIENCE, monitoring=False)
    cache.start()
    try:
        yield cache
    finally:
        if cache.gateway is not None:
            for server in cache.gateway.way.servers().values():
                for name in list(server.client.scan_iter(f"{namespace}:*", count=1000)):
                    server.client.delete(name)
        cache.close()
