"""A process of a fleet that shares one cache, for tests: ``cache_member.py URL NAMESPACE ROLE THREADS``.

It reports to, and takes orders from, database 1 of the same server: it counts itself in ``ready``, waits for
``go``, counts loads in ``loads``, and appends what its threads saw to ``results``. A load lasts until
something is pushed to ``release``.
"""

from __future__ import annotations

import sys

if "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import json
import threading
import time

import redis

from cache_ext import CachePolicy, TieredCache, open_cache
from tests.caches import connected
from tests.waiting import until

LONGEST_LOAD = 20.0
STEADY_SECONDS = 4.0
STEADY = CachePolicy(ttl=0.5, stale_while_revalidate=5.0)
STEADY_LOAD_SECONDS = 0.05


def load(desk: redis.Redis, patience: float) -> str:
    """Count a load and let it last until it is released, at most *patience* seconds."""
    number = desk.incr("loads")
    desk.blpop(["release"], patience)
    return f"load {number}"


def read_once(cache: TieredCache, desk: redis.Redis) -> list[object]:
    """Read the key once; return what came and how."""
    desk.incr("arrived")
    answer = cache.fetch("key", lambda: load(desk, LONGEST_LOAD), ttl=60)
    return [answer.value, answer.outcome]


def read_steadily(cache: TieredCache, desk: redis.Redis) -> dict[str, int]:
    """Read the key again and again for some seconds; return how often each outcome was seen."""
    seen: dict[str, int] = {}
    pause = threading.Event()
    end = time.monotonic() + STEADY_SECONDS
    while time.monotonic() < end:
        outcome = cache.fetch("key", lambda: load(desk, STEADY_LOAD_SECONDS), policy=STEADY).outcome
        seen[outcome] = seen.get(outcome, 0) + 1
        pause.wait(0.005)
    return seen


def main() -> None:
    """Do as told on the command line."""
    url, namespace, role, threads = sys.argv[1:5]
    desk = redis.Redis.from_url(url.replace("/0", "/1"), decode_responses=True, max_connections=1000)
    cache = connected(open_cache(url, namespace=namespace, op_timeout=2.0, pool_size=16))
    desk.incr("ready")
    until(lambda: desk.get("go"), "told to go", 20)
    work = {"once": read_once, "steady": read_steadily}[role]

    def report() -> None:
        desk.rpush("results", json.dumps(work(cache, desk)))

    crew = [threading.Thread(target=report) for _ in range(int(threads))]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    cache.close()


if __name__ == "__main__":
    main()
