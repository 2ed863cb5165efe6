"""Going past the cache for a while: `disabled`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_bypassed: ContextVar[bool] = ContextVar("cache_ext_bypassed", default=False)

is_bypassed: Callable[[], bool] = _bypassed.get
"""Tells whether the caller runs inside `bypassing`."""


@contextmanager
def bypassing() -> Iterator[None]:
    """Let every read inside the body, in this thread or greenlet, go past the cache."""
    reset = _bypassed.set(True)
    try:
        yield
    finally:
        _bypassed.reset(reset)
