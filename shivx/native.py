"""Locks of the system's own, also where gevent has put others in their place.

gevent's locks are for greenlets. Between native threads, as `shivx.accounts.offload` uses them, or between
one of those and the hub, they may wake nobody: who waits may wait for ever. These are for what both need.
What holds one does not yield: a greenlet that waits for it stops the whole hub.
"""

from __future__ import annotations

import _thread
import sys
from typing import Any


def lock() -> Any:
    """Return a lock."""
    return _original("allocate_lock")()


def rlock() -> Any:
    """Return a lock that who has it may take again."""
    return _original("RLock")()


def _original(name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return getattr(_thread, name) if monkey is None else monkey.get_original("_thread", name)
