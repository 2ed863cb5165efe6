"""One load per lifetime: among threads, greenlets and processes, also when the leader fails or dies."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import redis

from cache_ext import MISS, CachePolicy, Loaded, NotLoaded
from cache_ext.stores.redis import LEASE_MS
from tests import cache_member
from tests.caches import all_at_once, begin, connected, due, stop_before
from tests.processes import spawn, terminate
from tests.waiting import until

CROWD = 200
ROOT = Path(__file__).parent.parent
MARGIN = 3.0
"""Seconds that waking and loading may take on a busy machine, beside the life of a lease."""


class Fleet:
    """Processes that share a cache, and the desk where they report."""

    def __init__(self, url, namespace, log):
        self.desk = redis.Redis.from_url(url.replace("/0", "/1"), decode_responses=True)
        self.processes = []
        self._where = (url, namespace)
        self._log = log

    def start(self, role, threads, *options):
        """Start one more member."""
        command = [sys.executable, "-m", "tests.cache_member", *self._where, role, str(threads), *options]
        self.processes.append(spawn(command, self._log, cwd=ROOT))

    def number(self, name):
        """Return a counter of the desk."""
        return int(self.desk.get(name) or 0)

    def go(self):
        """Wait until all are ready, and send them off."""
        until(lambda: self.number("ready") == len(self.processes), "all are ready", 20)
        self.desk.set("go", 1)

    def results(self, count, timeout=20.0):
        """Return what *count* threads reported."""
        until(lambda: self.desk.llen("results") >= count, f"{count} results", timeout)
        return [json.loads(result) for result in self.desk.lrange("results", 0, -1)]

    def close(self):
        """End all of them."""
        for process in self.processes:
            terminate(process)
        self.desk.close()


@pytest.fixture
def fleet(redis_url, namespace, tmp_path):
    """A fleet on the shared server, to be started."""
    fleet = Fleet(redis_url, namespace, tmp_path / "fleet.log")
    yield fleet
    fleet.close()


def test_a_crowd_of_threads_loads_once(cache, origin):
    """200 threads that miss one key at once make one load, and all get its value."""
    origin.hold()
    crowd = begin(lambda: all_at_once(CROWD, lambda _: cache.get_or_load("k", origin.loader("k"))))
    origin.wait_for_call("k")
    origin.release()
    assert crowd.result(10) == ["k#1"] * CROWD
    assert origin.calls("k") == 1


def test_a_crowd_of_processes_loads_once(fleet):
    """4 processes with 50 threads each that miss one key at once make one load."""
    for _ in range(4):
        fleet.start("once", 50)
    fleet.go()
    until(lambda: fleet.number("arrived") == CROWD, "all have come", 20)
    fleet.desk.rpush("release", 1)
    assert {value for value, _ in fleet.results(CROWD)} == {"load 1"}
    assert fleet.number("loads") == 1


def test_a_crowd_of_greenlets_loads_once(fleet):
    """200 greenlets under gevent's monkey patching make one load."""
    fleet.start("once", CROWD, "gevent")
    fleet.go()
    until(lambda: fleet.number("arrived") == CROWD, "all have come", 20)
    fleet.desk.rpush("release", 1)
    assert {value for value, _ in fleet.results(CROWD)} == {"load 1"}
    assert fleet.number("loads") == 1


def test_a_killed_leader_is_replaced_within_the_life_of_a_lease(fleet):
    """If the process that loads is killed, another loads as soon as the lease ends."""
    fleet.start("once", 1)
    fleet.go()
    until(lambda: fleet.number("loads") == 1, "the leader loads")
    for _ in range(2):
        fleet.start("once", 5)
    until(lambda: fleet.number("arrived") == 11, "the others wait", 20)
    leader = fleet.processes[0]
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    killed = time.monotonic()
    until(lambda: fleet.number("loads") == 2, "another loads", LEASE_MS / 1000 + MARGIN)
    fleet.desk.rpush("release", 1)
    assert {value for value, _ in fleet.results(10)} == {"load 2"}
    assert time.monotonic() - killed < LEASE_MS / 1000 + MARGIN
    assert fleet.number("loads") == 2


def test_a_living_leader_keeps_his_lease_however_long_he_loads(make_cache, redis_url, origin, monkeypatch):
    """A load that takes several times as long as a lease lives is not loaded a second time."""
    monkeypatch.setattr("cache_ext.stores.redis.LEASE_MS", 800)
    monkeypatch.setattr("cache_ext.loading.upkeep.SECOND", 0.2)
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    renewed = []
    renew = one.runtime.store.renew
    one.runtime.store.renew = lambda keys, token: renewed.append(time.monotonic()) or renew(keys, token)
    origin.hold()
    first = begin(lambda: one.get_or_load("k", origin.loader("k")))
    origin.wait_for_call("k")
    second = begin(lambda: two.get_or_load("k", origin.loader("k")))
    until(lambda: renewed and renewed[-1] - renewed[0] > 1.6, "the first lease would have ended twice")
    origin.release()
    assert [first.result(10), second.result(10)] == ["k#1", "k#1"]
    assert origin.calls("k") == 1


def test_steady_reads_never_wait_and_load_once_a_lifetime(fleet):
    """4 processes read over many lifetimes: after the first load nobody waits, and loads are near the least.

    The least is T / (TTL - load time). That nobody waits does not depend on how busy the machine is: a
    value that is late for its refresh is served behind its ttl, by policy; delays make for fewer loads.
    """
    for _ in range(4):
        fleet.start("steady", 2)
    fleet.go()
    seen = fleet.results(8, timeout=30)
    waited = sum(outcomes.get("miss", 0) for outcomes in seen)
    policy, load = cache_member.STEADY, cache_member.STEADY_LOAD_SECONDS
    least = cache_member.STEADY_SECONDS / (policy.ttl - load)
    assert waited <= 8  # once each, at the start
    assert 2 <= fleet.number("loads") <= 1.05 * least + 1


def test_an_early_refresh_keeps_readers_from_waiting(cache, origin):
    """When little is left of a value's life, one load starts in the background; readers get the old value."""
    cache.get_or_load("k", origin.loader("k"), ttl=60)
    due(cache.runtime.near.get("k"))
    origin.hold()
    answers = [cache.get_or_load("k", origin.loader("k"), ttl=60) for _ in range(20)]
    origin.wait_for_call("k", 2)
    assert answers == ["k#1"] * 20
    origin.release()
    until(lambda: cache.get("k") == "k#2", "the refresh is done")
    assert origin.calls("k") == 2


@pytest.mark.parametrize("early", [True, False])
def test_what_loads_fast_is_refreshed_in_the_last_part_of_its_life(cache, early):
    """However fast its loader is, who asks in the last 4 % of its life has it loaded before it ends."""
    cache.get_or_load("k", lambda: Loaded("v", early_refresh=early), ttl=1000)
    slot = cache.runtime.near.get("k")
    assert slot.fresh_until - slot.early_at == pytest.approx(40.0 if early else 0.0, abs=0.1)


def test_without_early_refresh_nothing_is_loaded_before_its_end(cache, origin):
    """A policy may forbid the early refresh."""
    policy = CachePolicy(ttl=60, early_refresh=False)
    cache.get_or_load("k", origin.loader("k"), policy=policy)
    due(cache.runtime.near.get("k"))
    assert cache.get_or_load("k", origin.loader("k"), policy=policy) == "k#1"
    cache.runtime.refreshes.close(5.0)
    assert origin.calls("k") == 1


def test_a_refresh_that_fails_leaves_the_old_value_and_rests(cache, origin):
    """A failed refresh costs nobody anything, and is not tried again at once."""
    cache.get_or_load("k", origin.loader("k"), ttl=60)
    due(cache.runtime.near.get("k"))
    origin.fail_with(LookupError("down"))
    assert cache.get_or_load("k", origin.loader("k"), ttl=60) == "k#1"
    until(lambda: cache.runtime.failures.rests("k"), "the refresh has failed")
    assert cache.get_or_load("k", origin.loader("k"), ttl=60) == "k#1"
    assert origin.calls("k") == 2


def test_joiners_get_the_leaders_error_and_the_next_caller_loads_anew(cache, origin):
    """Who waits for a load that fails gets the same error; whoever comes later tries again."""
    origin.hold()
    first = begin(lambda: cache.get_or_load("k", origin.loader("k")))
    origin.wait_for_call("k")
    boarded = stop_before(cache.runtime.flights, "board")
    boarded.go()
    second = begin(lambda: cache.get_or_load("k", origin.loader("k")))
    boarded.wait()
    until(lambda: cache.runtime.flights._open["k"].done._cond._waiters, "the second waits")
    error = LookupError("down")
    origin.fail_with(error)
    origin.release()
    assert first.exception(5) is error
    assert second.exception(5) is error
    origin.recover()
    assert cache.get_or_load("k", origin.loader("k")) == "k#2"


def test_a_leader_that_is_killed_leaves_nobody_waiting(cache, origin):
    """If the loading thread is torn down, as gevent and SystemExit do, a joiner loads in its place."""
    origin.hold()
    first = begin(lambda: cache.get_or_load("k", origin.loader("k")))
    origin.wait_for_call("k")
    second = begin(lambda: cache.get_or_load("k", lambda: "second"))
    until(lambda: cache.runtime.flights._open["k"].done._cond._waiters, "the second waits")
    origin.fail_with(SystemExit())
    origin.release()
    assert isinstance(first.exception(5), SystemExit)
    assert second.result(10) == "second"


def test_a_leader_that_is_killed_gives_his_lease_back(make_cache, redis_url, origin):
    """Another process need not wait for the end of the lease."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    origin.hold()
    first = begin(lambda: one.get_or_load("k", origin.loader("k")))
    origin.wait_for_call("k")
    second = begin(lambda: two.get_or_load("k", lambda: "second"))
    origin.fail_with(SystemExit())
    origin.release()
    assert isinstance(first.exception(5), SystemExit)
    assert second.result(LEASE_MS / 1000 - 1) == "second"


@pytest.mark.parametrize("ending", ["value", "error", "not stored", "not loaded", "too large", "delete"])
def test_who_waits_for_another_process_is_woken(make_cache, redis_url, origin, ending):
    """However a load ends, processes that wait for it hear of it long before its lease would end."""
    one, two = connected(make_cache(redis_url, max_entry_bytes=1000)), connected(make_cache(redis_url))
    make = {
        "not stored": lambda value: Loaded(value, ttl=0),
        "too large": lambda value: value * 1000,
    }.get(ending, lambda value: value)

    def load(keys):
        value = origin("k")
        return {} if ending == "not loaded" else {"k": make(value)}

    origin.hold()
    first = begin(lambda: one.fetch_many(["k"], load))
    origin.wait_for_call("k")
    waits = stop_before(two.runtime.loading, "_await")
    waits.go()
    second = begin(lambda: two.get_or_load("k", lambda: "second"))
    waits.wait()
    if ending == "delete":
        one.delete("k")
    if ending == "error":
        origin.fail_with(LookupError())
    if ending != "delete":
        origin.release()
    assert second.result(LEASE_MS / 1000 - 1) == ("k#1" if ending == "value" else "second")
    origin.release()
    assert isinstance(first.result(10)["k"], NotLoaded) == (ending == "not loaded")


def test_without_backplane_waiting_still_ends(make_cache, redis_url, origin):
    """Processes that hear nothing look again by themselves."""
    one, two = make_cache(redis_url, pubsub=False), make_cache(redis_url, pubsub=False)
    origin.hold()
    first = begin(lambda: one.get_or_load("k", origin.loader("k")))
    origin.wait_for_call("k")
    second = begin(lambda: two.get_or_load("k", origin.loader("k")))
    origin.release()
    assert [first.result(10), second.result(10)] == ["k#1", "k#1"]
    assert origin.calls("k") == 1


def test_batches_that_overlap_load_each_key_once(make_cache, redis_url, origin):
    """Two processes ask for overlapping batches at once: no key is loaded twice, nobody hangs."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    batches = [("a", "b", "c", "d"), ("d", "c", "e"), ("b", "a", "f"), ("e", "f", "a")]
    caches = [one, two, one, two]
    origin.hold()
    crowd = begin(lambda: all_at_once(4, lambda n: caches[n].get_or_load_many(batches[n], origin.load_many)))
    until(lambda: origin.total >= 1, "somebody loads")
    origin.release()
    answers = crowd.result(10)
    assert answers == [{key: f"{key}#1" for key in batch} for batch in batches]
    assert origin.total == 6


def test_keys_that_are_there_do_not_wait_for_those_that_are_not(make_cache, redis_url, origin):
    """A key that another process has just loaded is landed before the rest of the batch is loaded."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    stop = stop_before(one.runtime.store, "begin")
    origin.hold()
    batch = begin(lambda: one.get_or_load_many(["a", "b"], origin.load_many))
    stop.wait()
    waiting = begin(lambda: one.get_or_load("a", lambda: "mine"))
    until(lambda: one.runtime.flights._open["a"].done._cond._waiters, "the second waits")
    two.set("a", "set")
    stop.go()
    assert waiting.result(10) == "set"
    origin.release()
    assert batch.result(10) == {"a": "set", "b": "b#1"}


def test_many_threads_on_many_keys_load_each_once(cache, origin):
    """40 threads that read 25 keys in different orders make 25 loads."""
    keys = [f"k{number}" for number in range(25)]

    def read(number):
        start = number % len(keys)
        return [cache.get_or_load(key, origin.loader(key)) for key in keys[start:] + keys[:start]]

    all_at_once(40, read)
    assert origin.total == len(keys)


def test_what_nobody_loads_any_more_is_forgotten(cache, origin):
    """No flight and no lease outlives its load."""
    cache.get_or_load("k", origin.loader("k"))
    cache.get_or_load_many(["a", "b"], lambda keys: {"a": 1})
    flights = cache.runtime.flights
    assert (flights._open, flights._aloft, cache.runtime._leases._held) == ({}, set(), {})
    assert cache.get("b") is MISS
    assert not [thread for thread in threading.enumerate() if thread.name == "cache-ext-refresh"]
