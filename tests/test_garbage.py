"""Garbage under every key in Redis costs the cache what it held, and nothing else: it goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from cache_ext import MISS, TieredCache
from tests.caches import connected
from tests.spoils import SPOILS, spoil

KINDS = [kind for kind in SPOILS if kind != "much"]  # as that takes its time, and is noise otherwise
Step = Callable[[TieredCache], object]


def load(cache: TieredCache, value: str = "new") -> object:
    """Read as everybody here does."""
    return cache.get_or_load("k", lambda: value, ttl=60, tags=["t"])


STEPS: dict[str, Step] = {
    "load": load,
    "set": lambda cache: cache.set("k", "new", ttl=60, tags=["t"]),
    "delete": lambda cache: cache.delete("k"),
    "invalidate": lambda cache: cache.invalidate_tags("t"),
    "soften": lambda cache: cache.invalidate_tags("t", soft=True),
    "clear": lambda cache: cache.clear(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", STEPS)
def test_a_cache_goes_on_after_garbage(
    make_cache: Callable[..., TieredCache], redis_url: str, namespace: str, kind: str, step: str
) -> None:
    """Whatever it does next: it does it, what it stores is had elsewhere, and invalidations are applied."""
    here, elsewhere = (connected(make_cache(redis_url, l1_max_bytes=0)) for _ in range(2))
    load(here, "old")
    with redis.Redis.from_url(redis_url) as intruder:
        for key in intruder.scan_iter(f"{namespace}*", count=1000):
            spoil(intruder, key, SPOILS[kind])
    STEPS[step](here)
    assert load(here) in ("new", "old")
    assert load(elsewhere, "not loaded") == load(here, "not loaded either")
    assert here.invalidate_tags("t").applied
    assert elsewhere.get("k") is MISS
    assert load(elsewhere, "newer") == load(here) == "newer"
    assert not here.runtime.outbox.waiting
