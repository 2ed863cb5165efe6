"""What was cleared does not come back: not from Redis, nor from any copy, nor as a last resort."""

from __future__ import annotations

import pytest

from cache_ext import MISS, CachePolicy
from tests.caches import begin, connected, stop_before
from tests.waiting import until

LONG = CachePolicy(ttl=60, stale_if_error=60, stale_while_revalidate=60, early_refresh=False)
SHORT = CachePolicy(ttl=0.05, stale_if_error=60, stale_while_revalidate=60, early_refresh=False)


def down():
    """Load nothing: the origin is away."""
    raise LookupError


def assert_gone(cache, policy=LONG, keys=("k", "tagged")):
    """Assert that nothing serves, fresh or stale."""
    for key in keys:
        assert cache.get(key) is MISS
        with pytest.raises(LookupError):
            cache.fetch(key, down, policy=policy, tags=["t"] if key == "tagged" else [])


def keep(cache, policy=LONG):
    """Keep a value with a tag and one without."""
    cache.set("k", "old", policy=policy)
    cache.set("tagged", "old", policy=policy, tags=["t"])


@pytest.mark.parametrize("policy", [LONG, SHORT], ids=["fresh", "stale"])
def test_nothing_comes_back_where_it_was_cleared(cache, policy):
    """Fresh or in its stale window: after `clear` a failing loader's error is all there is."""
    keep(cache, policy)
    if policy is SHORT:
        until(lambda: cache.get("k") is MISS and cache.get("tagged") is MISS, "they are stale")
    cache.clear()
    assert_gone(cache, policy)


def test_nothing_comes_back_elsewhere(make_cache, redis_url):
    """Other processes' copies, and what a new process finds in Redis, are gone as well."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    keep(one)
    assert [two.get("k"), two.get("tagged")] == ["old", "old"]
    assert one.clear().applied
    until(lambda: two.get("k") is MISS and two.get("tagged") is MISS, "the other heard", 1.0)
    assert_gone(two)
    assert_gone(connected(make_cache(redis_url)))


@pytest.mark.parametrize("shares", [True, False], ids=["with the host", "alone"])
def test_nothing_comes_back_after_an_outage(make_cache, own_redis_server, tmp_path, shares):
    """Cleared while Redis is away: gone here and on the host at once, for all when it is back."""
    server, folder = own_redis_server, tmp_path if shares else None
    settings = {"op_timeout": 0.3, "breaker_cooldown": 0.1, "host_dir": folder}
    one, two = (connected(make_cache(server.url, **settings)) for _ in range(2))
    keep(one)
    assert [two.get("k"), two.get("tagged")] == ["old", "old"]
    server.pause()
    assert one.clear().queued
    assert_gone(one)
    if shares:
        assert_gone(two)
    server.resume()
    until(lambda: not one.runtime.outbox.waiting, "Redis was told")
    until(lambda: two.get("k") is MISS and two.get("tagged") is MISS, "the other heard")
    for each in (one, two, connected(make_cache(server.url))):
        assert_gone(each)


def test_a_refresh_that_clear_passes_does_not_bring_it_back(make_cache, redis_url):
    """What a background load brings after `clear`, which it had begun before, serves nobody."""
    cache = connected(make_cache(redis_url))
    keep(cache, SHORT)
    until(lambda: cache.get("k") is MISS, "it is stale")
    stop = stop_before(cache.runtime.store, "fill")
    assert cache.fetch("k", lambda: "old", policy=SHORT).value == "old"
    stop.wait()
    late = begin(lambda: make_cache(redis_url).clear())
    assert late.result(10).applied
    stop.go()
    until(lambda: not cache.runtime.flights._aloft, "it has landed")
    assert_gone(cache, SHORT, ["k"])
    assert_gone(connected(make_cache(redis_url)), SHORT, ["k"])
