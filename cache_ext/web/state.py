"""Where an application keeps its cache."""

from __future__ import annotations

from flask import Flask

from cache_ext.engine import TieredCache
from cache_ext.errors import ConfigurationError

EXTENSION_KEY = "cache_ext"
"""``app.extensions["cache_ext"]`` is the application's `TieredCache`."""


def cache_of(app: Flask) -> TieredCache:
    """Return the cache of *app*.

    Raises:
        ConfigurationError: it has none.
    """
    try:
        cache: TieredCache = app.extensions[EXTENSION_KEY]
    except KeyError:
        raise ConfigurationError("this app has no cache: call CacheExt.init_app") from None
    return cache
