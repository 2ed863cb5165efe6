"""What one call may demand: no more stale than so, nothing older than its own invalidation or what it saw."""

from __future__ import annotations

import pytest

from cache_ext import MISS, CachePolicy, ConfigurationError, Loaded, OlderThanSeen, Outcome, Receipt
from tests.caches import begin, connected, deaf, stop_after
from tests.waiting import until

BRIEF = CachePolicy(ttl=0.05, stale_if_error=60, stale_while_revalidate=60, early_refresh=False)
LONG = CachePolicy(ttl=60, early_refresh=False)


def expired(cache, key="k"):
    """Return when the value of *key* is past its ttl."""
    until(lambda: cache.get(key) is MISS, "the value has expired")


@pytest.mark.parametrize(
    "wish", [{"max_stale": -1}, {"max_stale": float("nan")}, {"not_older_than": "now"}], ids=str
)
def test_a_wish_that_makes_no_sense_is_refused(cache, wish):
    """The message names it."""
    with pytest.raises(ConfigurationError, match=next(iter(wish))):
        cache.get_or_load("k", lambda: 1, **wish)
    with pytest.raises(TypeError, match="max_stail"):
        cache.get_or_load("k", lambda: 1, max_stail=1)


def test_max_stale_is_a_caller_s_own_limit(cache, origin):
    """0 is served no stale value, neither while it is revalidated nor when loading fails; others are."""
    cache.get_or_load("k", origin.loader("k"), policy=BRIEF)
    expired(cache)
    origin.fail_with(ConnectionError("down"))
    with pytest.raises(ConnectionError):
        cache.get_or_load("k", origin.loader("k"), policy=BRIEF, max_stale=0)
    assert cache.fetch("k", origin.loader("k"), policy=BRIEF, max_stale=30).outcome is Outcome.STALE
    assert cache.fetch("k", origin.loader("k"), policy=BRIEF).outcome is Outcome.STALE


def test_max_stale_allows_no_more_than_the_policy(cache, origin):
    """A value that its policy lets nobody have stale stays fresh or absent."""
    policy = CachePolicy(ttl=0.05, early_refresh=False)
    cache.get_or_load("k", origin.loader("k"), policy=policy)
    expired(cache)
    origin.fail_with(ConnectionError("down"))
    with pytest.raises(ConnectionError):
        cache.get_or_load("k", origin.loader("k"), policy=policy, max_stale=60)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("how", ["tag", "key", "clear"])
def test_one_reads_his_own_invalidation_elsewhere(make_cache, redis_url, origin, how, soft):
    """With its receipt, another process serves nothing older, without having heard of it."""
    here, there = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    there.get_or_load("k", origin.loader("k"), policy=LONG, tags=["t"])
    there.runtime._backplane._heard = lambda message: None  # the message is late
    act = {
        "tag": lambda: here.invalidate_tags("t", soft=soft),
        "key": lambda: here.delete("k"),
        "clear": here.clear,
    }
    receipt = act[how]()
    assert there.get_or_load("k", origin.loader("k"), policy=LONG, tags=["t"]) == "k#1"
    carried = Receipt.parse(str(receipt))
    assert there.get_or_load("k", origin.loader("k"), policy=LONG, tags=["t"], after=carried) == "k#2"
    calls = origin.calls("k")
    assert there.get_or_load("k", origin.loader("k"), policy=LONG, tags=["t"], after=carried) == "k#2"
    assert origin.calls("k") == calls


def test_who_was_invalidated_does_not_join_an_older_load(make_cache, redis_url, origin):
    """A load under way in his process began before the invalidation that he knows of."""
    here, there = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    there.runtime._backplane._heard = lambda message: None
    origin.hold()
    first = begin(lambda: there.get_or_load("k", origin.loader("k"), policy=LONG, tags=["t"]))
    origin.wait_for_call("k")
    receipt = here.invalidate_tags("t")
    second = begin(lambda: there.get_or_load("k", origin.loader("k"), policy=LONG, tags=["t"], after=receipt))
    until(lambda: there.runtime.flights._open["k"].done._cond._waiters, "the second waits for the first")
    origin.release()
    assert (first.result(10), second.result(10)) == ("k#1", "k#2")


def test_other_keys_stay_in_l1_for_him(make_cache, redis_url, origin):
    """A receipt concerns what it names."""
    cache = connected(make_cache(redis_url))
    cache.get_or_load("other", origin.loader("other"), policy=LONG, tags=["u"])
    receipt = cache.invalidate_tags("t")
    assert cache.fetch("other", origin.loader("other"), policy=LONG, tags=["u"], after=receipt).layer == "l1"


def priced(as_of):
    """Return a loader of a price of that time."""
    return lambda: Loaded(f"price of {as_of}", as_of=as_of)


def test_nothing_older_than_what_was_seen_is_served(make_cache, redis_url):
    """An older copy here gives way to a newer one in Redis, and to the origin's."""
    here, there = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    assert here.fetch("k", priced(100.0), policy=LONG).as_of == 100.0
    here.runtime._backplane._heard = lambda message: None
    there.set("k", Loaded("price of 105.0", as_of=105.0), ttl=60)
    assert here.get_or_load("k", priced(110.0), policy=LONG) == "price of 100.0"
    fetched = here.fetch("k", priced(110.0), policy=LONG, not_older_than=105.0)
    assert (fetched.value, fetched.layer, fetched.as_of) == ("price of 105.0", "l2", 105.0)
    assert here.get_or_load("k", priced(110.0), policy=LONG, not_older_than=106.5) == "price of 110.0"
    assert there.get_or_load("k", priced(1.0), policy=LONG, not_older_than=110.0) == "price of 110.0"


def test_an_origin_that_went_back_is_an_error(cache):
    """Nobody has data as new as the caller has seen; others get what there is."""
    with pytest.raises(OlderThanSeen):
        cache.get_or_load("k", priced(100.0), policy=LONG, not_older_than=100.5)
    assert cache.get_or_load("k", priced(99.0), policy=LONG) == "price of 100.0"


def test_data_without_a_time_of_their_own_are_older_than_any(cache):
    """Who demands a time must use a loader that gives one."""
    with pytest.raises(OlderThanSeen):
        cache.get_or_load("k", lambda: 1, policy=LONG, not_older_than=0.0)


def test_a_stale_value_that_is_too_old_is_no_last_resort(cache, origin):
    """When loading fails, what was seen counts too."""
    cache.get_or_load("k", priced(100.0), policy=BRIEF)
    expired(cache)
    origin.fail_with(ConnectionError("down"))
    assert cache.get_or_load("k", origin.loader("k"), policy=BRIEF, not_older_than=100.0) == "price of 100.0"
    with pytest.raises(ConnectionError):
        cache.get_or_load("k", origin.loader("k"), policy=BRIEF, not_older_than=101.0)


def test_who_demands_more_does_not_join_a_load_of_older_data(cache):
    """He waits for it, and loads himself if what it brought is too old."""
    times = iter([100.0, 200.0])
    source = type("Source", (), {"look": staticmethod(lambda: next(times))})()
    stop = stop_after(source, "look")

    def load():
        return priced(source.look())()

    first = begin(lambda: cache.get_or_load("k", load, policy=LONG))
    stop.wait()
    second = begin(lambda: cache.get_or_load("k", load, policy=LONG, not_older_than=150.0))
    until(lambda: cache.runtime.flights._open["k"].done._cond._waiters, "the second waits for the first")
    stop.go()
    assert (first.result(10), second.result(10)) == ("price of 100.0", "price of 200.0")


def test_a_batch_may_wish_too(cache):
    """Each key is judged by itself."""
    cache.get_or_load("a", priced(100.0), policy=LONG)
    cache.get_or_load("b", priced(200.0), policy=LONG)
    asked = []

    def load(keys):
        asked.append(list(keys))
        return {key: Loaded("new", as_of=300.0) for key in keys}

    assert cache.get_or_load_many(["a", "b"], load, policy=LONG, not_older_than=150.0) == {
        "a": "new",
        "b": "price of 200.0",
    }
    assert asked == [["a"]]


def test_a_deaf_process_reads_its_own_writes(make_cache, redis_url, origin):
    """Without any backplane a receipt is as good."""
    here, there = connected(make_cache(redis_url)), deaf(make_cache(redis_url))
    there.get_or_load("k", origin.loader("k"), policy=LONG, tags=["t"])
    receipt = here.invalidate_tags("t")
    assert there.get_or_load("k", origin.loader("k"), policy=LONG, tags=["t"], after=receipt) == "k#2"
