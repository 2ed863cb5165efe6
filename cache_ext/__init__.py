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
from cache_ext.hooks.event import Emitted, Event, Fate
from cache_ext.loading.loaded import Loaded, NotLoaded, NotModified, Previous, previous
from cache_ext.opening import open_cache
from cache_ext.policy import CachePolicy
from cache_ext.reading.fetched import Fetched, Outcome
from cache_ext.reading.terms import OlderThanSeen
from cache_ext.settings import CacheSettings

if _typing.TYPE_CHECKING:
    from cache_ext.web.extension import CacheExt
    from cache_ext.web.state import cache_of

_IN_FLASK = {"CacheExt": "cache_ext.web.extension", "cache_of": "cache_ext.web.state"}
"""What needs Flask, and is imported when it is asked for; the engine does without."""

__all__ = [
    "MISS",
    "CacheError",
    "CacheExt",
    "CachePolicy",
    "CacheSettings",
    "CircuitOpen",
    "ConfigurationError",
    "Emitted",
    "Event",
    "Fate",
    "Fetched",
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
    """Return what needs Flask.

    Raises:
        ImportError: Flask is not installed.
    """
    if name not in _IN_FLASK:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(_IN_FLASK[name]), name)
