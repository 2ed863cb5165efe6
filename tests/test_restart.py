"""Redis restarted, rolled back, emptied, hung or gone while the cache serves: nothing comes back."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from cache_ext import MISS, CachePolicy
from cache_ext.coherence.backplane import BOUND
from cache_ext.reading.found import UNCHECKED_LIFE
from cache_ext.transport.breaker import State
from tests.caches import begin, connected, stop_after
from tests.races import last_outdated
from tests.waiting import until

SLOW = CachePolicy(ttl=600, early_refresh=False)


@pytest.fixture
def server(own_redis_server):
    """A server of our own, that can save a snapshot."""
    return own_redis_server


def read(cache, value="loaded", key="k", tags=("t",)):
    """Read a key as every caller here does."""
    return cache.get_or_load(key, lambda: value, policy=SLOW, tags=tags)


def back(cache):
    """Return *cache* when its circuit is closed and its backplane hears again."""
    until(lambda: cache.gateway.breaker.state is State.CLOSED, "the circuit is closed")
    until(lambda: cache.runtime.trust.live_until > time.monotonic(), "the backplane hears")
    return cache


def pause(server, cache):
    """Let the server hang, and its failures be noticed at the first."""
    server.pause()
    cache.gateway.breaker._threshold = 1


def lost(cache):
    """Return *cache* when it has noticed that Redis is away."""
    trust = cache.runtime.trust
    until(lambda: trust.live_until < time.monotonic(), "the backplane is down")
    return cache


def test_an_empty_server_is_a_cold_cache(make_cache, server):
    """After a restart without data everything is loaded again, and kept."""
    cache = connected(make_cache(server.url))
    read(cache, "old")
    server.kill()
    lost(cache)
    server.start()
    back(cache)
    assert read(cache, "new") == "new"
    assert connected(make_cache(server.url)).get("k") == "new"


@pytest.mark.parametrize("who", ["the same process", "a fresh process"])
@pytest.mark.parametrize("how", ["tag", "key", "clear"])
def test_a_snapshot_resurrects_nothing(make_cache, server, who, how):
    """What was invalidated after the snapshot stays so when the server starts again from it."""
    cache = connected(make_cache(server.url))
    read(cache, "old")
    read(cache, "old", "bare", ())
    assert server.ask("SAVE") == b"+OK"
    cache.delete("bare")
    {"tag": lambda: cache.invalidate_tags("t"), "key": lambda: cache.delete("k"), "clear": cache.clear}[how]()
    assert cache.get("k") is MISS
    server.kill()
    lost(cache)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.keys("*v:k"), "the snapshot was not read: this test would show nothing"
    reader = back(cache) if who == "the same process" else connected(make_cache(server.url))
    assert reader.get("k") is MISS
    assert reader.get("bare") is MISS  # it has no tag to judge it: only its epoch does
    assert read(reader, "new") == "new"


def test_a_snapshot_replaces_the_epoch_once(make_cache, server):
    """The first process that meets a new run of the server replaces the epoch, later ones leave it."""
    one, two = connected(make_cache(server.url)), connected(make_cache(server.url))
    server.ask("SAVE")
    server.kill()
    lost(one)
    lost(two)
    server.start()
    back(one)
    read(one, "new")
    back(two)
    connected(make_cache(server.url))
    assert connected(make_cache(server.url)).get("k") == "new"


def test_entries_survive_new_processes_and_connections(make_cache, server):
    """As long as the server runs, the epoch stays."""
    read(connected(make_cache(server.url)), "kept")
    with redis.Redis.from_url(server.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert connected(make_cache(server.url)).get("k") == "kept"


def test_emptying_the_server_while_serving_is_a_miss(make_cache, server):
    """FLUSHALL loses epochs, versions and values; loads go on under new ones."""
    cache, other = connected(make_cache(server.url)), connected(make_cache(server.url))
    read(cache, "old")
    assert server.ask("FLUSHALL") == b"+OK"
    assert read(other, "new") == "new"
    replaced = time.monotonic()
    assert last_outdated(lambda: read(cache, "newer") != "new") <= replaced + BOUND
    cache.invalidate_tags("t")
    assert read(cache, "newest") == "newest"


def test_a_load_during_which_the_server_is_emptied_is_answered(make_cache, server, origin):
    """FLUSHALL voids leases; the load answers and does no harm."""
    cache = connected(make_cache(server.url))
    origin.hold()
    loading = begin(lambda: cache.get_or_load("k", origin.loader("k"), policy=SLOW, tags=["t"]))
    origin.wait_for_call("k")
    assert server.ask("FLUSHALL") == b"+OK"
    origin.release()
    assert loading.result(10) == "k#1"
    assert connected(make_cache(server.url)).get("k") is MISS


def test_forgotten_scripts_are_sent_again(make_cache, server):
    """SCRIPT FLUSH while serving costs nothing but a second trip."""
    cache = connected(make_cache(server.url))
    for number in range(3):
        assert server.ask("SCRIPT FLUSH") == b"+OK"
        assert read(cache, number) == number
        assert server.ask("SCRIPT FLUSH") == b"+OK"
        assert cache.invalidate_tags("t").applied
        assert server.ask("SCRIPT FLUSH") == b"+OK"
        cache.set("s", number)
        assert server.ask("SCRIPT FLUSH") == b"+OK"
        assert cache.delete("s").applied
        assert cache.clear().applied
    assert cache.gateway.breaker.state is State.CLOSED


def test_without_redis_copies_are_served_for_a_while(make_cache, server):
    """With the server gone L1 serves what was loaded less than 5 s ago, and loads go on."""
    cache = connected(make_cache(server.url))
    read(cache, "copy")
    server.kill()
    lost(cache)
    assert read(cache, "new") == "copy"
    assert read(cache, "fresh", "other") == "fresh"
    assert read(cache, "fresher", "other") == "fresh"


def test_without_redis_old_copies_are_not_served(make_cache, server):
    """What was loaded more than 5 s ago is loaded anew while nobody can vouch for it: not even as stale."""
    cache = connected(make_cache(server.url))
    read(cache, "copy")
    server.kill()
    lost(cache)
    cache.runtime.near.get("k").loaded -= UNCHECKED_LIFE
    answer = cache.fetch("k", lambda: "new", policy=SLOW, tags=["t"])
    assert (answer.value, answer.layer) == ("new", "origin")


def test_without_redis_and_origin_an_old_copy_is_the_last_resort(make_cache, server):
    """With both gone, a copy within its ttl is served, marked as stale."""
    cache = connected(make_cache(server.url))
    read(cache, "copy")
    server.kill()
    lost(cache)
    cache.runtime.near.get("k").loaded -= UNCHECKED_LIFE

    def down():
        raise LookupError

    answer = cache.fetch("k", down, policy=SLOW, tags=["t"])
    assert (answer.value, answer.outcome) == ("copy", "stale")


def test_a_copy_found_invalid_is_no_last_resort(make_cache, server):
    """A copy that a read of Redis has shown to be invalid is not served when Redis is gone later."""
    cache, other = connected(make_cache(server.url)), connected(make_cache(server.url))
    read(cache, "old")
    cache.runtime._backplane._heard = lambda message: None  # nothing is heard
    other.invalidate_tags("t")
    cache.runtime.trust.generation += 1  # so the copy must be revalidated

    def down():
        raise LookupError

    with pytest.raises(LookupError):
        cache.get_or_load("k", down, policy=SLOW, tags=["t"])
    server.kill()
    lost(cache)
    with pytest.raises(LookupError):
        cache.get_or_load("k", down, policy=SLOW, tags=["t"])


@pytest.mark.parametrize("how", ["tag", "key", "clear"])
def test_an_invalidation_without_redis_is_queued_and_comes_first(make_cache, server, how):
    """It counts here at once; when Redis is back no read here gets the old value from it in between."""
    cache = connected(make_cache(server.url, op_timeout=0.4))
    read(cache, "old")
    server.pause()
    lost(cache)
    invalidate = {
        "tag": lambda: cache.invalidate_tags("t"),
        "key": lambda: cache.delete("k"),
        "clear": cache.clear,
    }[how]
    assert invalidate().queued
    assert cache.get("k") is MISS
    server.resume()
    seen = []

    def is_cached_again():
        answer = cache.fetch("k", lambda: "new", policy=SLOW, tags=["t"])
        seen.append(answer.value)
        return answer.layer == "l1"

    until(is_cached_again, "it is kept again")
    assert set(seen) == {"new"}
    back(cache)
    until(lambda: not cache.runtime.outbox.waiting, "it was told")
    assert connected(make_cache(server.url)).get("k") in (MISS, "new")


def test_what_is_set_without_redis_outdates_what_lies_there(make_cache, server):
    """The older value does not come back with Redis, neither here, without a copy in L1, nor elsewhere."""
    cache = connected(make_cache(server.url, op_timeout=0.4))
    cache.set("k", "old", ttl=60)
    server.pause()
    lost(cache)
    cache.set("k", "new", ttl=60)
    assert cache.get("k") == "new"
    server.resume()
    back(cache)
    until(lambda: not cache.runtime.outbox.waiting, "it was told")
    cache.runtime.near.clear()
    assert cache.get("k") is MISS
    assert connected(make_cache(server.url)).get("k") is MISS


def test_a_queued_invalidation_is_told_though_nobody_reads(make_cache, server):
    """The process that queued it tells Redis by itself once it is back; other processes rely on it."""
    cache, other = connected(make_cache(server.url, op_timeout=0.4)), connected(make_cache(server.url))
    read(other, "old")
    pause(server, cache)
    assert cache.invalidate_tags("t").queued
    server.resume()
    until(lambda: not cache.runtime.outbox.waiting, "it was told")
    back(other)
    reached = time.monotonic()
    assert last_outdated(lambda: other.get("k") is not MISS) <= reached + BOUND


def test_while_a_queued_invalidation_is_told_nobody_reads_past_it(make_cache, server):
    """A read that comes while another thread is telling Redis does not get the old value."""
    cache = connected(make_cache(server.url, op_timeout=0.4))
    read(cache, "old")
    pause(server, cache)
    cache.runtime._upkeep.stop()
    assert cache.invalidate_tags("t").queued
    cache.gateway.breaker.state = State.CLOSED
    server.resume()
    telling = cache.runtime.store.invalidate
    started, go_on = threading.Event(), threading.Event()

    def slow(tags):
        started.set()
        go_on.wait(5)
        return telling(tags)

    cache.runtime.store.invalidate = slow
    first = begin(lambda: cache.get("k"))
    started.wait(5)
    assert cache.get("k") is MISS
    go_on.set()
    assert first.result(10) is MISS


def test_too_many_queued_invalidations_become_one(make_cache, server, monkeypatch):
    """An overflow of the queue invalidates everything."""
    monkeypatch.setattr("cache_ext.coherence.outbox.MAX_NAMES", 10)
    cache = connected(make_cache(server.url, op_timeout=0.4))
    read(cache, "old")
    read(cache, "old", "bystander", ("u",))
    pause(server, cache)
    for number in range(11):
        assert cache.invalidate_tags(f"t{number}").queued
    server.resume()
    back(cache)
    until(lambda: not cache.runtime.outbox.waiting, "it was told")
    assert connected(make_cache(server.url)).get("bystander") is MISS


def test_a_cut_backplane_is_revalidated_and_goes_on(make_cache, server):
    """CLIENT KILL TYPE pubsub: what was missed meanwhile is noticed, what still counts is kept."""
    cache, other = connected(make_cache(server.url)), connected(make_cache(server.url))
    read(cache, "old")
    read(cache, "kept", "other", ("u",))
    generation = cache.runtime.trust.generation
    stop = stop_after(cache.runtime._backplane, "_interrupted")
    server.ask("CLIENT KILL TYPE pubsub")
    stop.wait()
    other.invalidate_tags("t")
    assert cache.get("k") is MISS
    stop.go()
    until(lambda: cache.runtime.trust.generation > generation, "the backplane is back")
    connected(cache)
    assert cache.get("k") is MISS
    assert cache.fetch("other", lambda: "new", policy=SLOW, tags=["u"]).layer == "l2"
    assert cache.fetch("other", lambda: "new", policy=SLOW, tags=["u"]).layer == "l1"


def test_a_message_lost_in_between_is_noticed(make_cache, server):
    """A hole in a bucket's numbering makes L1 revalidate."""
    cache, other = connected(make_cache(server.url)), connected(make_cache(server.url))
    read(cache, "old")
    other.invalidate_tags("t{x}")  # same bucket as the next, so its number is known
    other.invalidate_tags("u{x}")
    generation = cache.runtime.trust.generation
    until(lambda: cache.runtime._backplane._sequences, "the numbers are known")
    heard = cache.runtime._backplane._publish
    dropped = threading.Event()

    def drop(received):
        cache.runtime._backplane._publish = heard
        dropped.set()

    cache.runtime._backplane._publish = drop
    other.invalidate_tags("v{x}")
    dropped.wait(5)
    other.invalidate_tags("w{x}")
    until(lambda: cache.runtime.trust.generation > generation, "the hole is noticed", BOUND)


def test_a_hung_server_costs_the_budget_until_the_circuit_opens(make_cache, server):
    """Each call pays at most its time for Redis; from the fifth failure on, nothing."""
    patience = 0.1
    cache = connected(make_cache(server.url, op_timeout=patience, breaker_cooldown=30.0))
    read(cache)
    server.pause()
    lost(cache)
    spent = []
    run = cache.gateway._spend
    asked = threading.local()

    def timed(commands, operation, *rest):
        started = time.monotonic()
        try:
            return run(commands, operation, *rest)
        finally:
            if operation != "other":
                asked.time = getattr(asked, "time", 0.0) + time.monotonic() - started

    cache.gateway._spend = timed
    for number in range(20):
        asked.time = 0.0
        assert cache.get_or_load(f"x{number}", lambda: 1, ttl=60) == 1
        spent.append(asked.time)
    assert max(spent) <= 2 * patience  # a generous margin on a busy machine; without budget: 3 commands
    assert cache.gateway.breaker.state is State.OPEN
    assert sum(cost > 0 for cost in spent) <= 5
    assert spent[-10:] == [0.0] * 10
    server.resume()


def test_a_server_that_was_never_there_is_done_without(make_cache, server):
    """A cache opened before its server serves from the origin, and takes it up when it comes."""
    server.kill()
    cache = make_cache(server.url, breaker_cooldown=0.1)
    assert read(cache, "origin") == "origin"
    server.start()
    back(cache)
    assert read(cache, "new") in ("origin", "new")
    until(lambda: connected(make_cache(server.url)).get("k") is not MISS or not read(cache, "new", "k2"), "")
