"""What a request's trail notes of its reads, and what it leaves out."""

from __future__ import annotations

import contextvars

import pytest

from cache_ext import CachePolicy
from cache_ext.explain.trails import KEPT_READS, MAX_READS, PLACES, WHOLE, Read, Requests, Trail
from tests.caches import connected

POLICY = CachePolicy(ttl=60, name="fact")
SECRET = CachePolicy(ttl=60, name="who", sensitive=True)


@pytest.fixture
def server_kind():
    """Both kinds speak the same protocol."""
    return "valkey"


@pytest.fixture
def trail():
    """The trail of a request that begins now."""
    return Trail("one", 0.0, "GET", "k")


def noted(trail):
    """Return key, cache, layer and outcome of each read, in order."""
    return [read[:4] for read in trail.reads]


def test_each_read_is_noted_with_where_it_came_from(make_cache, redis_url, trail):
    """From the origin, from L2, from L1; alone and in a batch."""
    one, other = (connected(make_cache(redis_url)) for _ in range(2))
    with trail:
        one.get_or_load("a", lambda: 1, policy=POLICY)
        other.get_or_load("a", lambda: 1, policy=POLICY)
        other.get_or_load("a", lambda: 1, policy=POLICY)
        one.get_or_load_many(["a", "b"], lambda keys: dict.fromkeys(keys, 2), policy=POLICY)
        one.get("never")
    assert noted(trail) == [
        ("a", "fact", "origin", "miss"),
        ("a", "fact", "l2", "hit"),
        ("a", "fact", "l1", "hit"),
        ("a", "fact", "l1", "hit"),
        ("b", "fact", "origin", "miss"),
        ("never", "direct", "none", "miss"),
    ]
    assert trail.reasons == dict.fromkeys(("a", "b", "never"), "nothing lies there")
    assert all(read.at > 0 for read in trail.reads)


def test_a_failed_load_is_noted(make_cache, trail):
    """As an error, of no layer."""
    cache = make_cache()
    with trail, pytest.raises(ZeroDivisionError):
        cache.get_or_load("a", lambda: 1 // 0, policy=POLICY)
    assert noted(trail) == [("a", "fact", "none", "error")]


@pytest.mark.parametrize("url", ["memory", "redis"])
def test_sensitive_reads_are_only_counted(make_cache, redis_url, trail, url):
    """Misses and hits in either layer: neither key nor reason is noted."""
    settings = {"secret_keys": ["s" * 32]}
    one, other = (
        connected(make_cache(redis_url, **settings)) if url == "redis" else make_cache(**settings)
        for _ in range(2)
    )
    with trail:
        for cache in (one, one, other):
            cache.get_or_load("who:1", lambda: "alice", policy=SECRET, tags=["account:1"])
        one.invalidate_tags("account:1")
        one.get_or_load("who:1", lambda: "alice", policy=SECRET, tags=["account:1"])
    assert (noted(trail), trail.hidden) == ([], 4)
    assert "account:1" not in repr(trail.reasons)


def test_what_is_noted_is_bounded(make_cache, redis_url, trail):
    """Of more reads there is only how many there were."""
    cache = connected(make_cache(redis_url))
    keys = [f"k{number}" for number in range(MAX_READS + 5)]
    with trail:
        cache.get_or_load_many(keys, lambda keys: dict.fromkeys(keys, 1), policy=POLICY)
    assert (len(trail.reads), trail.hidden, len(trail.reasons)) == (MAX_READS, 5, MAX_READS)


def test_nothing_is_noted_once_the_request_is_over(make_cache, trail):
    """What was begun for it and goes on keeps its context, and does not speak for it."""
    cache = make_cache()
    with trail:
        context = contextvars.copy_context()
    context.run(cache.get_or_load, "a", lambda: 1, policy=POLICY)
    cache.get_or_load("b", lambda: 1, policy=POLICY)
    assert (trail.reads, trail.reasons) == ([], {})


def test_redis_that_is_away_is_why(make_cache, own_redis_server, trail):
    """A read that could not ask says so."""
    cache = connected(make_cache(own_redis_server.url, timeout=0.5))
    own_redis_server.kill()
    with trail:
        cache.get_or_load("a", lambda: 1, policy=POLICY)
    assert trail.reasons["a"].startswith("Redis was not asked: ")


def test_of_older_requests_some_reads_are_remembered():
    """Of the newest all, and the oldest are forgotten altogether."""
    requests = Requests()
    for number in range(PLACES + 1):
        trail = Trail(str(number), 0.0, "GET", "k")
        with trail:
            for key in range(KEPT_READS + 2):
                trail.note(Read(str(key), "fact", "l2", "hit", 1.0, 0.0))
                trail.explain(str(key), "why")
        requests.follow(trail)

    def told(number):
        (found,), _, _ = requests.of(str(number))
        return len(found.reads), found.hidden, len(found.reasons)

    assert requests.of("0") == ([], [], [])
    assert told(PLACES + 1 - WHOLE) == (KEPT_READS + 2, 0, KEPT_READS + 2)
    assert told(PLACES - WHOLE) == told(1) == (KEPT_READS, 2, KEPT_READS)
    assert len(requests) == PLACES
