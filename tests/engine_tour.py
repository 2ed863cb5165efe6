"""Calling every method of the engine in every way that sends something else to Redis."""

from __future__ import annotations

from typing import Any

from cache_ext import CachePolicy, TieredCache
from cache_ext.hooks import running
from tests.caches import begin
from tests.waiting import until

MANY = [f"key:{number}" for number in range(200)]
TAGS = [f"tag:{number}" for number in range(50)]


def use_everything(cache: TieredCache) -> None:
    """Call every method in every way that sends something else."""
    cache.get_or_load_many(MANY, lambda keys: dict.fromkeys(keys, 1), tags_for=lambda key: TAGS)
    cache.runtime.near.clear()
    cache.fetch_many(MANY, lambda keys: {}, tags_for=lambda key: TAGS)
    cache.set("k", 1, tags=TAGS, policy=CachePolicy(ttl=5, sensitive=True))
    cache.get_or_load("parent", lambda: cache.get("k"))
    cache.fetch_many(["lost"], lambda keys: {})  # a lease that is released
    held = {"renewed": False}

    def slow() -> int:
        until(lambda: held["renewed"] or cache.runtime._leases.renew(cache.runtime.store) is None, "renewed")
        return 1

    begin(lambda: cache.get_or_load("slow", slow)).result(10)
    cache.invalidate_tags(*TAGS)
    cache.delete(*MANY)
    cache.clear()
    cache.runtime.outbox.add(tags=TAGS, keys=MANY)
    cache.get("k")
    cache.runtime.stats.tick()
    run_hooks(cache)


def run_hooks(cache: TieredCache) -> None:
    """Have hooks called that end well, that fail, and that fail for good; and follow the stream."""
    seen: list[Any] = []
    cache.hooks.invalidate_by(lambda event: TAGS, cache)

    def hook(event: Any) -> None:
        seen.append(event)
        cache.hooks._runner.prolong()
        if event.data:
            raise LookupError("no")

    cache.hooks.on("trade", name="hook")(hook)
    cache.hooks.emit("trade", 0, id="with an id")
    cache.hooks.emit("trade", 1)
    until(lambda: len(seen) == len(running.PAUSES) + 2, "all tries are made")
    until(lambda: cache.hooks._runner._follower._followed, "the stream is followed")
    cache.hooks.tick()
    cache.hooks.close(5)
