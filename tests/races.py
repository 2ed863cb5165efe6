"""Races between a load and an invalidation: the steps at which a load can be stopped, and what it reads."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from cache_ext import TieredCache
from tests.caches import Stop, stop_after, stop_before
from tests.waiting import until

KEY, TAG = "price", "pair"


class Source:
    """What the caches stand before: a number that can be changed, and is read when a loader runs."""

    def __init__(self, value: str = "old") -> None:
        self.value = value
        self.looks = 0

    def look(self) -> str:
        """Return the number as it is now; tests stop loaders here."""
        self.looks += 1
        return self.value

    def load(self) -> str:
        """Return the number."""
        return self.look()

    def load_many(self, keys: Any) -> dict[str, str]:
        """Return the number for each of *keys*."""
        return dict.fromkeys(keys, self.look())


# Where the load stands while the invalidation passes, in the order in which it gets there.
STEPS: dict[str, Callable[[TieredCache, Source], Stop]] = {
    "before begin": lambda cache, source: stop_before(cache.runtime.store, "begin"),
    "after begin": lambda cache, source: stop_after(cache.runtime.store, "begin"),
    "in the loader": lambda cache, source: stop_after(source, "look"),
    "before fill": lambda cache, source: stop_before(cache.runtime.store, "fill"),
    "after fill": lambda cache, source: stop_after(cache.runtime.store, "fill"),
    "before the L1 put": lambda cache, source: stop_before(cache.runtime.near, "put"),
}
LATE_STEPS = [step for step in STEPS if step != "before begin"]


def last_outdated(is_outdated: Callable[[], bool]) -> float:
    """Read until what comes is not outdated; return when the last read that was so began, at the latest.

    Bounds are judged by it: a busy machine reads less often, but nothing older than it may.
    """
    last = -math.inf

    def is_over() -> bool:
        nonlocal last
        began = time.monotonic()
        if not is_outdated():
            return True
        last = began
        return False

    until(is_over, "it is not outdated any more")
    return last


def has_heard(cache: TieredCache, other: TieredCache) -> None:
    """Wait until *cache* has processed all that was published so far: *other* publishes one more."""
    other.set("beacon", time.monotonic_ns())
    slot = other.runtime.near.get("beacon")
    assert slot is not None
    seen = slot.entry.token
    until(
        lambda: cache.runtime.near._replaced._last.get("beacon", (0, b""))[1] == seen, "the beacon is heard"
    )
