"""Rows of failovers: how long until Redis serves again, and how long a caller ever waited meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.rows import Row, in_words
from benchmarks.samples import TTL, flat
from benchmarks.stage import Stage, hearing, wait_for
from cache_ext import TieredCache, open_cache
from cache_ext.errors import StoreUnavailable
from tests.cluster import Cluster
from tests.sentinels import Sentinels
from tests.servers import RunningServer

OP_TIMEOUT = 0.1
"""The default: no call may spend more on Redis."""
LATE = 0.05
"""Seconds that the machine may keep a caller from running, on top."""
AGAIN_LIMIT = 1.0
KEY, TAG = "price:{pair:SOL-USDC}", "pair:SOL-USDC"
PAUSE = 0.002


class Caller(threading.Thread):
    """Reads one key again and again, from L2."""

    def __init__(self, cache: TieredCache) -> None:
        super().__init__(daemon=True)
        self._cache = cache
        self.longest = 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        """Read until `ended`."""
        while not self.ended.wait(PAUSE):
            began = time.monotonic()
            self._cache.get_or_load(KEY, flat, ttl=TTL, tags=(TAG,))
            self.longest = max(self.longest, time.monotonic() - began)


def takeovers(stage: Stage) -> Iterator[Row]:
    """A primary that is killed while it is read from."""
    for name, make in (("Sentinel", _sentinels), ("Cluster", _cluster)):
        tries = [make() for _ in range(3 if stage.sizes.batch > 5 else 1)]
        again, longest = (max(each) for each in zip(*tries, strict=True))
        yield Row(
            f"{name}: the primary is killed",
            f"served again within {AGAIN_LIMIT:g} s of the new primary; no call above its budget",
            f"after {in_words(again)}; the longest call {in_words(longest)} of {in_words(OP_TIMEOUT)}",
            "",
            again <= AGAIN_LIMIT and longest <= OP_TIMEOUT + LATE,
            {"served again, s": round(again, 3), "longest call, s": round(longest, 4)},
        )


def _sentinels() -> tuple[float, float]:
    rig = Sentinels()
    try:
        return _measure(rig.url, lambda cache: rig.primary, lambda cache: rig.servers)
    finally:
        rig.close()


def _cluster() -> tuple[float, float]:
    rig = Cluster()

    def place(cache: TieredCache) -> str:
        return cache.runtime.keyspace.value(KEY)

    try:
        return _measure(
            rig.url,
            lambda cache: rig.primary_of(place(cache)),
            lambda cache: rig.replicas_of(place(cache)),
        )
    finally:
        rig.close()


def _measure(
    url: str,
    primary: Callable[[TieredCache], RunningServer],
    heirs: Callable[[TieredCache], list[RunningServer]],
) -> tuple[float, float]:
    """Return the seconds from the new primary to the first answer from it, and the longest call, seconds."""
    cache = open_cache(url, namespace="takeover", op_timeout=OP_TIMEOUT, l1_max_bytes=0)
    try:
        hearing(cache)
        cache.get_or_load(KEY, flat, ttl=TTL, tags=(TAG,))
        old = primary(cache)
        others = [server for server in heirs(cache) if server is not old]
        caller = Caller(cache)
        caller.start()
        old.kill()
        wait_for(lambda: any(_leads(server) for server in others), "a replica takes over")
        new_at = time.monotonic()
        wait_for(lambda: _answers(cache), "it serves again")
        again = time.monotonic() - new_at
        caller.ended.set()
        caller.join()
        return again, caller.longest
    finally:
        cache.close()


def _leads(server: RunningServer) -> bool:
    with server.client() as client:
        told: Any = client.execute_command("ROLE")
    return bool(told[0] in ("master", b"master"))


def _answers(cache: TieredCache) -> bool:
    try:
        cache.gateway.run([("GET", cache.runtime.keyspace.value(KEY))])  # type: ignore[union-attr]
    except StoreUnavailable:
        return False
    return True
