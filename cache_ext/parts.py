"""Parts of a runtime that its settings choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cache_ext.coherence.journal import Journal
from cache_ext.coherence.outbox import Outbox
from cache_ext.coherence.records import Names
from cache_ext.keys import KeySpace
from cache_ext.settings import CacheSettings
from cache_ext.stores.base import Store
from cache_ext.stores.local import LocalStore, NullStore
from cache_ext.stores.redis import RedisStore
from cache_ext.transport.connection import RedisGateway


def make_store(settings: CacheSettings, gateway: RedisGateway | None, space: KeySpace) -> Store:
    """Return what the processes share: Redis, or nothing but this process, or nothing at all."""
    if not settings.enabled or settings.redis_url == "null://":
        return NullStore()
    return LocalStore() if gateway is None else RedisStore(gateway, space)


def meeting_folder(settings: CacheSettings, gateway: RedisGateway | None) -> Path | None:
    """Return where the processes of this host meet, None if they do not."""
    return None if gateway is None else settings.meeting_place


def make_outbox(
    settings: CacheSettings,
    gateway: RedisGateway | None,
    queued: Callable[[Names], None],
    monotonic: Callable[[], float],
) -> Outbox:
    """Return what keeps invalidations until Redis is told; on disk if the processes of the host meet."""
    folder = meeting_folder(settings, gateway)
    return Outbox(Journal(folder / "journal") if folder else None, queued, monotonic)
