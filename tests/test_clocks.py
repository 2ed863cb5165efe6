"""Clocks lie: lifetimes come from the clock of Redis and are counted down by the monotonic one."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import msgspec
import pytest
import redis

import cache_ext
from cache_ext import MISS
from cache_ext.stores.local import LocalStore
from tests.caches import connected
from tests.waiting import until

HOUR = 3600.0


@pytest.mark.parametrize("error", [HOUR, -HOUR])
def test_a_wrong_wall_clock_changes_nothing(make_cache, redis_url, monkeypatch, error):
    """A process whose wall clock is an hour off sees the same age and remaining life."""
    right = connected(make_cache(redis_url)).fetch("k", lambda: 1, ttl=60)
    true_time, true_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: true_time() + error)
    monkeypatch.setattr(time, "time_ns", lambda: true_ns() + int(error * 1e9))
    wrong = connected(make_cache(redis_url)).fetch("k", lambda: 2, ttl=60)
    assert (wrong.value, wrong.layer) == (1, "l2")
    assert wrong.ttl_left == pytest.approx(right.ttl_left, abs=5)
    assert 0 <= wrong.age < 5


@pytest.mark.parametrize("error", [HOUR, -HOUR])
def test_what_a_process_with_a_wrong_clock_stores_is_right(make_cache, redis_url, monkeypatch, error):
    """Its entries live as long as those of others."""
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + error)
    connected(make_cache(redis_url)).get_or_load("k", lambda: 1, ttl=60)
    monkeypatch.undo()
    there = connected(make_cache(redis_url)).fetch("k", lambda: 2, ttl=60)
    assert (there.value, there.ttl_left) == (1, pytest.approx(60, abs=5))


MAY_READ_THE_WALL_CLOCK = {
    "stores/local.py",  # its own is the only clock there is
    "loading/leftovers.py",  # for the age of files, whose times are of that clock
    "hooks/emitting.py",  # tells hooks when an event was emitted; nothing is decided by it
    "http_cache/door.py",  # Date and Expires are by that clock, which RFC 9111 compares them with
    "http_cache/fields.py",  # the century of years with two digits (RFC 9110, section 5.6.7)
    "explain/explaining.py",  # tells when an explanation was given; nothing is decided by it
    "explain/invalidations.py",  # tells when something was invalidated; of several the newest is shown
    "explain/memory.py",  # tells when a request began; nothing is decided by it
    "stats/own.py",  # until Redis was heard, names the minute in which something was counted
    "stats/reporting.py",  # without Redis, tells when a report was made; nothing is decided by it
    "limits/limiter.py",  # without Redis, tells clients when a unit frees; nothing is decided by it
}


def test_nothing_is_decided_by_the_wall_clock():
    """``time.time`` and ``datetime.now`` stand nowhere in the library but where that is harmless."""
    root = Path(cache_ext.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("time", "time"), ("time", "time_ns"), ("datetime", "now")}
    }
    assert found <= MAY_READ_THE_WALL_CLOCK


def test_a_memory_cache_survives_a_step_of_the_wall_clock(make_cache, clock):
    """Without Redis too a step of the clock neither ends nor prolongs what is kept."""
    cache = make_cache()
    store = cache.runtime.store
    assert isinstance(store, LocalStore)
    store._clock = clock.time
    cache.get_or_load("k", lambda: 1, ttl=60)
    for step in (HOUR, -2 * HOUR):
        clock.step_wall_clock(step)
        assert cache.fetch("k", lambda: 2, ttl=60).ttl_left == pytest.approx(60, abs=5)


def restamp(url, cache, **changes):
    """Change fields of the entry that lies in Redis."""
    name = cache.runtime.keyspace.value("k")
    with redis.Redis.from_url(url) as client:
        entry = cache._codec.decode(client.get(name), "k")
        changed = {field: change(getattr(entry, field)) for field, change in changes.items()}
        client.set(name, cache._codec.encode(msgspec.structs.replace(entry, **changed), "k"))


def test_an_entry_from_the_future_is_a_miss(make_cache, redis_url):
    """If the clock of Redis was set back, how old an entry is cannot be told: it is loaded anew."""
    cache = connected(make_cache(redis_url))
    cache.get_or_load("k", lambda: 1, ttl=60)
    restamp(redis_url, cache, loaded_at=lambda at: at + 3_600_000)
    other = connected(make_cache(redis_url))
    assert other.get("k") is MISS
    assert other.get_or_load("k", lambda: 2, ttl=60) == 2
    assert connected(make_cache(redis_url)).get("k") == 2


def test_an_entry_whose_life_is_over_by_the_clock_of_redis_is_a_miss(make_cache, redis_url):
    """Even if Redis still has it: what remains is told by its time stamp."""
    cache = connected(make_cache(redis_url))
    cache.get_or_load("k", lambda: 1, ttl=60)
    restamp(redis_url, cache, loaded_at=lambda at: at - 61_000)
    assert connected(make_cache(redis_url)).get("k") is MISS


def test_what_remains_is_what_the_clock_of_redis_says(make_cache, redis_url):
    """A value loaded 40 of its 60 seconds ago has 20 left in every process that reads it."""
    cache = connected(make_cache(redis_url))
    cache.get_or_load("k", lambda: 1, ttl=60)
    restamp(redis_url, cache, loaded_at=lambda at: at - 40_000)
    there = connected(make_cache(redis_url)).fetch("k", lambda: 2, ttl=60)
    assert (there.age, there.ttl_left) == (pytest.approx(40, abs=5), pytest.approx(20, abs=5))


def test_life_is_counted_down(cache):
    """Between two reads of a copy exactly the monotonic time in between has gone."""
    first, at = cache.fetch("k", lambda: 1, ttl=60), time.monotonic()
    until(lambda: time.monotonic() - at > 0.1, "some time has gone")
    second = cache.fetch("k", lambda: 2, ttl=60)
    assert second.layer == "l1"
    assert first.ttl_left - second.ttl_left >= 0.1
    assert second.age + second.ttl_left == pytest.approx(60, abs=0.01)


def test_life_is_counted_from_before_the_load(cache, origin):
    """A slow load uses up its value's life: it is as old as the moment its loader was called."""
    begun = time.monotonic()

    def slow():
        until(lambda: time.monotonic() - begun > 0.2, "some time has gone")
        return 1

    assert cache.fetch("k", slow, ttl=60).age >= 0.15


def test_the_clock_that_the_heartbeat_tells_is_rather_late(make_cache, redis_url):
    """So that no entry that was just loaded is taken for one from the future, and none lives too long."""
    cache = connected(make_cache(redis_url))
    until(lambda: cache.runtime.trust.clock_ahead is not None, "it knows the clock")
    for _ in range(50):
        clock = cache.runtime.trust.store_clock(time.monotonic)
        seconds, microseconds = cache.gateway.way.server.client.time()
        if clock is not None:
            assert 0 <= clock() - (seconds * 1000 + microseconds // 1000) < 1_000


def test_a_vague_answer_tells_no_clock(make_cache, redis_url):
    """An answer that took long may have been true at any moment of that; readers ask themselves then."""
    cache = connected(make_cache(redis_url))
    backplane = cache.runtime._backplane
    backplane._answered(time.monotonic() - 0.5, time.monotonic(), time.time())
    assert cache.runtime.trust.clock_ahead is None
