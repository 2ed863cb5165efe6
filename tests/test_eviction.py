"""A server short of memory costs misses, never an old value: whatever it evicts, nothing comes back."""

from __future__ import annotations

import random

import pytest
import redis

from cache_ext import MISS, CachePolicy
from cache_ext.keys import BUCKETS, KeySpace
from tests.waiting import until

POLICY = CachePolicy(ttl=60, stale_if_error=60, stale_while_revalidate=60, early_refresh=False)
TAGS = 60
ROUNDS = 1_500
FILLER = b"x" * 4_000


class Market:
    """What the cache stands before: a number of its own for each tag, which only ever rises."""

    def __init__(self) -> None:
        self.numbers = [0] * TAGS

    def reads(self, number):
        """Return a loader of what lies under a tag."""
        return lambda: self.numbers[number]


def down():
    """Load nothing: the origin is away."""
    raise LookupError


def lost(server, space):
    """Return how many versions of tags, epochs and sequences the server does not have."""
    with redis.Redis.from_url(server.url) as client:
        versions = client.exists(*(space.version(f"t{number}") for number in range(TAGS)))
        epochs = client.exists(*map(space.epoch, range(BUCKETS)))
        sequences = client.exists(*map(space.sequence, range(BUCKETS)))
    return TAGS - versions, BUCKETS - epochs, BUCKETS - sequences


def crowd(server, policy):
    """Let the server evict by *policy* as soon as it has one more megabyte than now."""
    with redis.Redis.from_url(server.url) as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", used + 1_000_000)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_what_is_evicted_is_a_miss(make_cache, own_redis_server, namespace, policy):
    """Versions, epochs, sequences and values vanish at random; each value that is served is the newest."""
    cache = make_cache(own_redis_server.url, l1_max_bytes=0, pubsub=False)
    space, market, dice = KeySpace(namespace), Market(), random.Random(7)
    cache.start()
    crowd(own_redis_server, policy)
    most_lost, served = (0, 0, 0), 0
    for step in range(ROUNDS):
        number = dice.randrange(TAGS)
        if dice.random() < 0.2:
            market.numbers[number] += 1
            assert cache.invalidate_tags(f"t{number}").applied
        answer = cache.fetch(f"k{number}", market.reads(number), policy=POLICY, tags=[f"t{number}"])
        assert answer.value == market.numbers[number]
        served += answer.layer == "l2"
        cache.set(f"filler{step}", FILLER, ttl=60)
        if step % 50 == 0:
            most_lost = tuple(map(max, most_lost, lost(own_redis_server, space)))
    assert all(most_lost), "the server has evicted too little to prove anything"
    assert served, "nothing was served from Redis"


@pytest.mark.parametrize("server_kind", ["valkey", "redis"])
def test_nothing_evicted_comes_back_as_the_last_resort(make_cache, own_redis_server):
    """With the origin down as well, a value that was invalidated does not serve, its version being lost."""
    cache = make_cache(own_redis_server.url, l1_max_bytes=0, pubsub=False)
    cache.start()
    crowd(own_redis_server, "allkeys-lru")
    for number in range(TAGS):
        cache.set(f"k{number}", "old", policy=POLICY, tags=[f"t{number}"])
        cache.invalidate_tags(f"t{number}")
    for step in range(600):
        number = step % TAGS
        with pytest.raises(LookupError):
            cache.fetch(f"k{number}", down, policy=POLICY, tags=[f"t{number}"])
        cache.set(f"filler{step}", FILLER, ttl=60)


def test_what_judges_all_values_is_never_evicted_by_volatile_policies(
    make_cache, own_redis_server, namespace
):
    """Epochs and sequences have no ttl, so a server that evicts only what has one keeps them."""
    cache = make_cache(own_redis_server.url, l1_max_bytes=0, pubsub=False)
    cache.start()
    cache.clear()
    crowd(own_redis_server, "volatile-lru")
    first = cache.runtime.store.read([f"k{number}" for number in range(500)], []).versions.epochs
    for step in range(800):
        cache.set(f"filler{step}", FILLER, ttl=60, tags=[f"t{step % TAGS}"])
    with redis.Redis.from_url(own_redis_server.url) as client:
        assert client.info("stats")["evicted_keys"] > 100
    assert lost(own_redis_server, KeySpace(namespace))[1:] == (0, 0)
    assert cache.runtime.store.read([f"k{number}" for number in range(500)], []).versions.epochs == first


def test_a_full_server_that_evicts_nothing_is_not_believed(make_cache, own_redis_server):
    """Where no invalidation can be written any more it is queued, and no read gets the old value."""
    cache = make_cache(own_redis_server.url, pubsub=False)
    cache.set("k", "old", policy=POLICY, tags=["t"])
    with redis.Redis.from_url(own_redis_server.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        assert cache.invalidate_tags("t").queued
        with pytest.raises(LookupError):
            cache.fetch("k", down, policy=POLICY, tags=["t"])
        assert cache.fetch("k", lambda: "new", policy=POLICY, tags=["t"]).value == "new"
        client.config_set("maxmemory", "0")
    until(lambda: not cache.runtime.outbox.waiting, "Redis was told")
    assert make_cache(own_redis_server.url).get("k") in (MISS, "new")
