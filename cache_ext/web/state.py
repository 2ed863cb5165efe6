"""Where an application keeps its cache."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from cache_ext.engine import TieredCache
from cache_ext.errors import ConfigurationError
from cache_ext.stats.reporting import config_key

EXTENSION_KEY = "cache_ext"
"""``app.extensions["cache_ext"]`` is the application's `TieredCache`."""
SETTING_NAMES = "cache_ext.setting_names"
"""Where it keeps how its settings are called; see `CacheExt`."""


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


def setting_name_of(app: Flask) -> Callable[[str], str]:
    """Return what tells, of a field of `CacheSettings`, how it is called where *app* is configured."""
    name: Callable[[str], str] = app.extensions.get(SETTING_NAMES, config_key)
    return name
