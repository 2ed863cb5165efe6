"""A two-level cache for Flask and for any Python: fenced, coalesced, invalidated by events."""

import importlib as _importlib
import typing as _typing

from cache_ext import events
from cache_ext.coherence.preview import Preview
from cache_ext.coherence.receipts import Receipt
from cache_ext.engine import TieredCache
from cache_ext.entry import MISS
from cache_ext.errors import (
    CacheError,
    CircuitOpen,
    ConfigurationError,
    LoadTimeout,
    NestedLoadError,
    PayloadError,
    StoreError,
    StoreUnavailable,
    UnsupportedValue,
)
from cache_ext.hooks.event import Emission, Emitted, Event, Fate
from cache_ext.loading.loaded import Loaded, NotLoaded, NotModified, Previous, previous
from cache_ext.opening import open_cache
from cache_ext.policy import CachePolicy
from cache_ext.reading.fetched import Fetched, Outcome
from cache_ext.reading.terms import OlderThanSeen
from cache_ext.settings import CacheSettings

if _typing.TYPE_CHECKING:
    from cache_ext.http_cache.door import HttpCache
    from cache_ext.http_cache.options import Options as HttpCacheOptions
    from cache_ext.web.extension import CacheExt
    from cache_ext.web.state import cache_of

_LATE = {
    "CacheExt": "cache_ext.web.extension:CacheExt",
    "HttpCache": "cache_ext.http_cache.door:HttpCache",
    "HttpCacheOptions": "cache_ext.http_cache.options:Options",
    "cache_of": "cache_ext.web.state:cache_of",
}
"""What is imported when it is asked for: it needs Flask, or not everybody needs it."""

__all__ = [
    "MISS",
    "CacheError",
    "CacheExt",
    "CachePolicy",
    "CacheSettings",
    "CircuitOpen",
    "ConfigurationError",
    "Emission",
    "Emitted",
    "Event",
    "Fate",
    "Fetched",
    "HttpCache",
    "HttpCacheOptions",
    "LoadTimeout",
    "Loaded",
    "NestedLoadError",
    "NotLoaded",
    "NotModified",
    "OlderThanSeen",
    "Outcome",
    "PayloadError",
    "Preview",
    "Previous",
    "Receipt",
    "StoreError",
    "StoreUnavailable",
    "TieredCache",
    "UnsupportedValue",
    "cache_of",
    "events",
    "open_cache",
    "previous",
]


def __getattr__(name: str) -> _typing.Any:
    """Return what is imported late.

    Raises:
        ImportError: it needs Flask, which is not installed.
    """
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _LATE[name].partition(":")
    return getattr(_importlib.import_module(module), attribute)
