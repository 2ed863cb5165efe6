"""Signals: what happened is told to who listens, with frozen payloads, and disturbs nobody."""

from __future__ import annotations

import logging
import threading

import pytest

from cache_ext import CachePolicy, events
from tests.caches import connected
from tests.waiting import until

STALE_AT_ONCE = CachePolicy(ttl=0.001, stale_if_error=60.0, early_refresh=False, name="brief")


@pytest.fixture
def heard():
    """Everything that all signals of this process say, as (name of the signal, sender, payload)."""
    seen = []
    names = ("hit", "miss", "stale", "load", "evict", "invalidate", "circuit")
    receivers = {}
    for name in names:

        def note(sender, event, name=name):
            seen.append((name, sender, event))

        receivers[name] = note
        getattr(events, name).connect(note)
    yield seen
    for name, receiver in receivers.items():
        getattr(events, name).disconnect(receiver)


def told(heard, *names):
    """Return what the signals of *names* said, in order."""
    return [event for name, _, event in heard if name in names]


def fail():
    """Load nothing."""
    raise LookupError("the exchange is down")


def test_a_load_and_a_hit_are_told(cache, heard):
    """A first read is a load and a miss, a second one a hit, each with key, layer and the policy's name."""
    policy = CachePolicy(ttl=60, name="prices")
    cache.get_or_load("k", lambda: 1, policy=policy)
    cache.get_or_load("k", lambda: 2, policy=policy)
    assert [name for name, _, _ in heard] == ["load", "miss", "hit"]
    load, miss, hit = (event for _, _, event in heard)
    assert (load.keys, load.cache, load.error) == (("k",), "prices", None)
    assert 0 <= load.seconds < 10
    assert miss == events.Read("k", "origin", "prices", miss.age)
    assert hit == events.Read("k", "l1", "prices", hit.age)
    assert 0 <= miss.age <= hit.age < 10
    assert all(sender is cache for _, sender, _ in heard)


def test_reads_without_a_loader_are_told(cache, heard):
    """`get` says hit or miss, under the name of direct reads."""
    cache.get("k")
    cache.set("k", 1)
    cache.get("k")
    assert told(heard, "miss") == [events.Read("k", "none", "direct", 0.0)]
    (hit,) = told(heard, "hit")
    assert hit == events.Read("k", "l1", "direct", hit.age)


def test_a_failed_load_is_told_with_its_error(cache, heard):
    """Without any value to serve, the read is a miss that no layer answered."""
    with pytest.raises(LookupError) as raised:
        cache.get_or_load("k", fail)
    (load,) = told(heard, "load")
    assert load.error is raised.value
    assert told(heard, "miss") == [events.Read("k", "none", "default", 0.0)]


def test_a_stale_answer_is_told(cache, heard):
    """What is served because the loader failed is neither hit nor miss."""
    cache.get_or_load("k", lambda: 1, policy=STALE_AT_ONCE)
    until(lambda: not cache.get("k"), "its ttl is over")
    del heard[:]
    assert cache.get_or_load("k", fail, policy=STALE_AT_ONCE) == 1
    (stale,) = told(heard, "hit", "miss", "stale")
    assert (stale.key, stale.cache) == ("k", "brief")
    assert stale.age >= 0.001
    assert [name for name, _, _ in heard] == ["load", "stale"]


def test_a_batch_is_one_load(cache, heard):
    """The loader of many is called once, and so it is told; each key is a miss of its own."""
    cache.get_or_load_many(["a", "b"], lambda keys: dict.fromkeys(keys, 1))
    assert [sorted(load.keys) for load in told(heard, "load")] == [["a", "b"]]
    assert sorted(read.key for read in told(heard, "miss")) == ["a", "b"]


def test_a_receiver_may_listen_to_one_cache(make_cache):
    """Connected to a sender, it does not hear of other caches."""
    one, other, seen = make_cache(), make_cache(), []

    def note(sender, event):
        seen.append(event.key)

    events.miss.connect(note, sender=one)
    one.get("of one")
    other.get("of other")
    assert seen == ["of one"]


def test_a_receiver_that_raises_harms_nobody(make_cache, caplog):
    """The value is served, the other receivers are called, and the error is logged."""
    cache, seen = make_cache(), []

    def broken(sender, event):
        raise RuntimeError("a bug")

    async def asynchronous(sender, event):
        seen.append("never")

    def note(sender, event):
        seen.append(event.key)

    for receiver in (broken, asynchronous, note):
        events.miss.connect(receiver, sender=cache)
    with caplog.at_level(logging.ERROR):
        assert cache.get_or_load("k", lambda: 1) == 1
    assert seen == ["k"]
    assert "a bug" in caplog.text
    assert "is an async function" in caplog.text


def test_a_receiver_may_use_the_cache(cache):
    """No lock of the cache is held while it is called."""
    seen = []

    def note(sender, event):
        if event.key == "k":
            seen.append(sender.get_or_load("other", lambda: 2))
            sender.delete("k")

    events.miss.connect(note, sender=cache)
    cache.get_or_load("k", lambda: 1)
    assert seen == [2]


def test_nothing_is_prepared_when_nobody_listens(make_cache, monkeypatch):
    """Without receivers no payload is made."""
    for name in ("hit", "miss", "stale", "load", "evict", "invalidate", "circuit"):
        monkeypatch.setattr(getattr(events, name), "receivers", {})  # those of other tests may still be alive
    cache = make_cache(l1_max_bytes=10_000)
    for name in ("Read", "Load", "Evicted", "Invalidated", "CircuitChanged"):
        monkeypatch.delattr(events, name)
    cache.get_or_load("k", lambda: 1, tags=["t"])
    cache.get_or_load("k", lambda: 1, tags=["t"])
    cache.invalidate_tags("t")
    cache.delete("k")
    cache.clear()
    assert not cache.get("k")
    for number in range(20):
        cache.set(f"k{number}", b"x" * 1000)


def test_payloads_cannot_be_changed():
    """One receiver cannot change what the next one sees."""
    with pytest.raises(AttributeError):
        events.Read("k", "l1", "default", 0.0).key = "other"


def test_evictions_are_told(make_cache, heard):
    """What makes room in L1 is told with its size, and while no lock is held; no invalidation is."""
    cache, left = make_cache(l1_max_bytes=20_000), []

    def note(sender, event):
        left.append(sender.get(event.key))

    events.evict.connect(note, sender=cache)
    for number in range(50):
        cache.set(f"k{number}", b"x" * 1000)
    evicted = told(heard, "evict")
    assert len(evicted) == len({event.key for event in evicted}) == len(left) > 25
    assert all(1000 < event.bytes < 3000 for event in evicted)
    assert not any(left)
    assert told(heard, "invalidate") == []


def test_invalidations_asked_for_here_are_told(cache, heard):
    """Each call is one event with the names that it was given, and that Redis knows of it."""
    cache.invalidate_tags("a", "b")
    cache.invalidate_tags("c", soft=True)
    cache.delete("k")
    cache.clear()
    cache.invalidate_tags()
    assert told(heard, "invalidate") == [
        events.Invalidated(tags=("a", "b")),
        events.Invalidated(tags=("c",), soft=True),
        events.Invalidated(keys=("k",)),
        events.Invalidated(everything=True),
    ]


def test_invalidations_of_other_processes_are_told(make_cache, redis_url):
    """Each is heard once there, as not asked for there; who asked does not hear its own again."""
    asking, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    here, there, done = [], [], threading.Event()

    def note(sender, event):
        (here if sender is asking else there).append(event)
        if sender is asking and event.tags == ("last",) and not event.here:
            done.set()

    events.invalidate.connect(note)
    asking.invalidate_tags("a")
    asking.invalidate_tags("b", soft=True)
    asking.delete("k")
    asking.clear()
    other.invalidate_tags("last")
    assert done.wait(10)
    until(lambda: len(there) == 5, "all are heard")
    assert [event for event in there if not event.here] == [
        events.Invalidated(tags=("a",), here=False),
        events.Invalidated(tags=("b",), soft=True, here=False),
        events.Invalidated(keys=("k",), here=False),
        events.Invalidated(everything=True, here=False),
    ]
    assert [event for event in here if not event.here] == [events.Invalidated(tags=("last",), here=False)]
    assert len(here) == 5


def test_an_invalidation_that_redis_does_not_know_is_told_as_such(make_cache, own_redis_server, heard):
    """While Redis is away it holds here, and the event says that only this process knows."""
    cache = connected(make_cache(own_redis_server.url, breaker_failures=1))
    own_redis_server.kill()
    cache.invalidate_tags("a")
    cache.delete("k")
    assert told(heard, "invalidate") == [
        events.Invalidated(tags=("a",), applied=False),
        events.Invalidated(keys=("k",), applied=False),
    ]


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_what_the_host_queued_is_told_to_its_other_processes(make_cache, own_redis_server, tmp_path):
    """They hear of it while Redis is still away: by the host's journal, as neither asked here nor applied."""
    url, seen = own_redis_server.url, []
    asking, other = (connected(make_cache(url, breaker_failures=1, host_dir=tmp_path)) for _ in range(2))

    def note(sender, event):
        seen.append(event)

    events.invalidate.connect(note, sender=other)
    own_redis_server.kill()
    asking.invalidate_tags("a")
    asking.invalidate_tags("b", soft=True)
    wanted = {
        events.Invalidated(tags=("a",), applied=False, here=False),
        events.Invalidated(tags=("b",), soft=True, applied=False, here=False),
    }
    until(lambda: other.get("k") or wanted <= set(seen), "the other hears of both")


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_the_circuit_is_told(make_cache, own_redis_server, heard):
    """It opens when Redis is gone, and closes through a probe when it is back."""
    cache = connected(make_cache(own_redis_server.url, breaker_failures=1, breaker_cooldown=0.1))
    closed = threading.Event()

    def note(sender, event):
        if event.state == "closed":
            closed.set()

    events.circuit.connect(note, sender=cache)
    own_redis_server.kill()
    cache.get("k")
    assert told(heard, "circuit")[0] == events.CircuitChanged("open")
    own_redis_server.start()
    assert closed.wait(10)
    assert [event.state for event in told(heard, "circuit")][-2:] == ["half-open", "closed"]
