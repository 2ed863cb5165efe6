"""After a fork the child has threads and connections of its own, and the parent goes on as before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = """
import os, sys, threading
from cache_ext import open_cache
from cache_ext.transport.breaker import State
from tests.caches import begin, connected
from tests.waiting import until

url, namespace, scene = sys.argv[1:]
cache = open_cache(url, namespace=namespace, op_timeout=2.0, secret_keys=("s" * 32,))
if url != "memory://":
    connected(cache)
cache.set("before", "kept", tags=["t"])
shared = url != "memory://"
if scene == "loading":
    hold, entered = threading.Event(), threading.Event()
    def slow():
        entered.set()
        hold.wait(10)
        return "parent"
    loading = begin(lambda: cache.get_or_load("slow", slow))
    entered.wait(5)
if scene == "probing":
    cache.runtime._upkeep.stop()
    breaker = cache.gateway.breaker
    breaker.state = State.HALF_OPEN
if scene == "locked":
    cache.gateway.breaker._lock.acquire()
    cache.runtime.near._lock.acquire()
    cache.runtime.flights._lock.acquire()

child = os.fork()
if child == 0:
    status = 1
    try:
        if shared:
            until(lambda: cache.get("before") == "kept", "Redis answers the child")
            connected(cache)
        names = sorted(thread.name for thread in threading.enumerate() if thread.daemon)
        assert names == (["cache-ext-backplane", "cache-ext-upkeep"] if shared else []), names
        if scene == "locked":
            cache.gateway.breaker.failure("one")
        assert cache.get_or_load("child", lambda: "made") == "made"
        if scene != "loading":
            assert begin(lambda: cache.get_or_load("slow", lambda: "child")).result(10) == "child"
        cache.invalidate_tags("t")
        cache.close()
        status = 0
    finally:
        os._exit(status)
if scene == "locked":
    cache.gateway.breaker._lock.release()
    cache.runtime.near._lock.release()
    cache.runtime.flights._lock.release()
if scene == "probing":
    breaker.probed(True)
_, status = os.waitpid(child, 0)
assert status == 0, status
if scene == "loading":
    hold.set()
    assert loading.result(10) == "parent"
if shared:
    until(lambda: cache.get("child") == "made", "the parent reads what the child made")
    from cache_ext import MISS
    until(lambda: cache.get("before") is MISS, "the parent hears the child")
assert cache.get_or_load("parent", lambda: 1) == 1
cache.close()
print("fine")
"""


def run(url, namespace, scene):
    """Run the program; return what it printed."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, url, namespace, scene]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("scene", ["idle", "loading", "probing", "locked"])
def test_a_forked_child_works(redis_url, namespace, scene):
    """Whatever the parent was doing: loading, probing an open circuit, holding locks."""
    assert run(redis_url, namespace, scene) == "fine"


def test_a_forked_child_of_a_memory_cache_works(namespace):
    """A cache without Redis starts afresh too."""
    assert run("memory://", namespace, "idle") == "fine"
