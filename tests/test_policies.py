"""`CachePolicy`: lifetimes, patience with loaders, failures, L1's own ttl, compression."""

from __future__ import annotations

import time

import pytest

from cache_ext import MISS, CachePolicy, ConfigurationError, LoadTimeout, NotLoaded, Outcome
from cache_ext.loading.failures import Failures
from tests.caches import all_at_once, begin, connected
from tests.waiting import until

BRIEF = 0.05
"""Seconds of a ttl that tests wait out."""


class PairUnknown(LookupError):
    """The origin's answer to a pair that it does not have."""


def expired(cache, key="k"):
    """Return when the value of *key* is past its ttl."""
    until(lambda: cache.get(key) is MISS, "the value has expired")


@pytest.mark.parametrize(
    "wrong",
    [
        {"jitter": 1.0},
        {"jitter": -0.1},
        {"soft_timeout": -1},
        {"soft_timeout": 2, "hard_timeout": 1},
        {"hard_timeout": 0},
        {"failure_throttle": float("nan")},
        {"error_ttl": 0},
        {"cache_errors": (int,)},
        {"cache_errors": ("LookupError",)},
        {"l1_ttl": -1},
        {"compress_above": -1},
        {"ttl": "5"},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    """The message names the field."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        CachePolicy(**{"ttl": 5, **wrong})


def test_jitter_takes_a_part_of_the_ttl_off(cache):
    """A random part, up to the share that the policy names, and never adds any."""
    policy = CachePolicy(ttl=100, jitter=0.5)
    left = [cache.fetch(f"k{n}", lambda: 1, policy=policy).ttl_left for n in range(40)]
    assert all(49 < seconds <= 100 for seconds in left)
    assert max(left) - min(left) > 5


def test_jitter_is_that_of_the_origin_s_dice(cache):
    """The dice are passed in."""
    cache.runtime.origin._origin._chance = lambda: 1.0
    assert cache.fetch("k", lambda: 1, policy=CachePolicy(ttl=100, jitter=0.25)).ttl_left == pytest.approx(
        75, abs=1
    )


def test_past_the_soft_timeout_the_stale_value_is_served(cache, origin):
    """The caller waits so long; the load goes on and replaces the value."""
    policy = CachePolicy(ttl=BRIEF, stale_if_error=60, soft_timeout=0.05, early_refresh=False)
    assert cache.get_or_load("k", origin.loader("k"), policy=policy) == "k#1"
    expired(cache)
    origin.hold()
    fetched = cache.fetch("k", origin.loader("k"), policy=policy)
    assert (fetched.value, fetched.outcome) == ("k#1", Outcome.STALE)
    origin.release()
    slot = cache.runtime.near.get
    until(lambda: (found := slot("k")) is not None and found.take() == "k#2", "the load has ended")
    assert origin.calls("k") == 2


def test_without_a_stale_value_the_soft_timeout_does_not_count(cache, origin):
    """There is nothing to serve instead."""
    policy = CachePolicy(ttl=60, stale_if_error=60, soft_timeout=0.001)
    origin.hold()
    answer = begin(lambda: cache.get_or_load("k", origin.loader("k"), policy=policy))
    origin.wait_for_call("k")
    origin.release()
    assert answer.result(10) == "k#1"


def test_the_hard_timeout_ends_the_wait_and_not_the_load(cache, origin):
    """All who wait get LoadTimeout, the origin is asked once, and what it brings is stored."""
    policy = CachePolicy(ttl=60, hard_timeout=0.05, early_refresh=False)
    origin.hold()

    def ask(number):
        with pytest.raises(LoadTimeout):
            cache.get_or_load("k", origin.loader("k"), policy=policy)
        return True

    assert all(all_at_once(5, ask))
    origin.release()
    until(lambda: cache.get("k") == "k#1", "the load has ended")
    assert cache.get_or_load("k", origin.loader("k"), policy=policy) == "k#1"
    assert origin.calls("k") == 1


def test_a_load_that_is_timed_out_is_fenced(cache, origin):
    """An invalidation that passes while it goes on in the background keeps it from being stored."""
    policy = CachePolicy(ttl=60, hard_timeout=0.02, early_refresh=False)
    origin.hold()
    with pytest.raises(LoadTimeout):
        cache.get_or_load("k", origin.loader("k"), policy=policy, tags=["t"])
    cache.invalidate_tags("t")
    origin.release()
    cache.runtime._timed.close(5.0)
    assert cache.get("k") is MISS


def test_a_timed_load_knows_the_load_around_it(cache):
    """It runs in a thread of its own, and still hands up its tags."""
    timed = CachePolicy(ttl=60, hard_timeout=5)
    cache.get_or_load("parent", lambda: cache.get_or_load("child", lambda: 1, policy=timed, tags=["red"]))
    cache.invalidate_tags("red")
    assert cache.get("parent") is MISS


def test_a_batch_serves_what_came_in_time(cache, origin):
    """Of the keys that are still being loaded the batch says so; the rest is there."""
    cache.set("a", 1)
    origin.hold()
    results = cache.fetch_many(["a", "b"], origin.load_many, policy=CachePolicy(ttl=60, hard_timeout=0.02))
    assert results["a"].value == 1
    assert isinstance(results["b"], LoadTimeout)
    origin.release()


def test_more_timed_loads_than_there_are_places_wait_for_one(cache, origin):
    """And time out like the others, rather than start threads without bound."""
    policy = CachePolicy(ttl=60, hard_timeout=0.05)
    cache.runtime._timed._places = type(cache.runtime._timed._places)(1)
    origin.hold()
    for key in ("a", "b"):
        with pytest.raises(LoadTimeout):
            cache.get_or_load(key, origin.loader(key), policy=policy)
    assert (origin.calls("a"), origin.calls("b")) == (1, 0)
    origin.release()
    until(lambda: cache.get("a") == "a#1", "the first has ended")
    assert cache.get_or_load("b", origin.loader("b"), ttl=5) == "b#1"


def test_after_a_failure_the_loader_rests(cache, origin):
    """For the throttle's time callers get the same error, and the origin is left alone."""
    policy = CachePolicy(ttl=60, failure_throttle=60)
    origin.fail_with(ConnectionError("down"))
    for _ in range(5):
        with pytest.raises(ConnectionError, match="down"):
            cache.get_or_load("k", origin.loader("k"), policy=policy)
    assert origin.calls("k") == 1
    assert cache.get_or_load("k", lambda: "other", ttl=60) == "other"


def test_while_the_loader_rests_the_stale_value_is_served(cache, origin):
    """It is served at once."""
    policy = CachePolicy(ttl=BRIEF, stale_if_error=60, failure_throttle=60, early_refresh=False)
    cache.get_or_load("k", origin.loader("k"), policy=policy)
    expired(cache)
    origin.fail_with(ConnectionError("down"))
    fetched = [cache.fetch("k", origin.loader("k"), policy=policy) for _ in range(3)]
    assert [(each.value, each.outcome) for each in fetched] == [("k#1", Outcome.STALE)] * 3
    assert origin.calls("k") == 2


def test_a_throttle_ends(cache, origin):
    """Then the next caller loads."""
    policy = CachePolicy(ttl=60, failure_throttle=BRIEF)
    origin.fail_with(ConnectionError("down"))
    with pytest.raises(ConnectionError):
        cache.get_or_load("k", origin.loader("k"), policy=policy)
    origin.recover()
    until(lambda: cache.runtime.failures.throttled("k") is None, "the throttle has ended")
    assert cache.get_or_load("k", origin.loader("k"), policy=policy) == "k#2"


def test_remembered_failures_are_bounded(monkeypatch):
    """The oldest is forgotten."""
    monkeypatch.setattr("cache_ext.loading.failures._REMEMBERED", 3)
    failures = Failures(time.monotonic)
    for number in range(5):
        failures.note(f"k{number}", ValueError(number), 60)
    assert [failures.throttled(f"k{number}") is not None for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_an_error_that_is_an_answer_is_stored(make_cache, redis_url, origin):
    """It is raised again, from L1 and in other processes, until its ttl ends; the origin is asked once."""
    policy = CachePolicy(ttl=60, cache_errors=(LookupError,), error_ttl=60)
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    origin.fail_with(PairUnknown("XYZ-USDC"))
    for cache in (one, one, two, two):
        with pytest.raises(PairUnknown) as raised:
            cache.get_or_load("k", origin.loader("k"), policy=policy)
        assert raised.value.args == ("XYZ-USDC",)
    assert origin.calls("k") == 1


def test_a_stored_error_obeys_its_ttl_and_its_tags(cache, origin):
    """Past its error_ttl, or after an invalidation, the origin is asked again."""
    policy = CachePolicy(ttl=60, cache_errors=(PairUnknown,), error_ttl=BRIEF)
    origin.fail_with(PairUnknown("k"))
    with pytest.raises(PairUnknown):
        cache.get_or_load("k", origin.loader("k"), policy=policy)
    origin.recover()

    def again():
        try:
            return cache.get_or_load("k", origin.loader("k"), policy=policy)
        except PairUnknown:
            return None

    until(again, "the error has expired")
    lasting = CachePolicy(ttl=60, cache_errors=(PairUnknown,), error_ttl=60)
    origin.fail_with(PairUnknown("j"), "j")
    with pytest.raises(PairUnknown):
        cache.get_or_load("j", origin.loader("j"), policy=lasting, tags=["t"])
    origin.recover("j")
    cache.invalidate_tags("t")
    assert cache.get_or_load("j", origin.loader("j"), policy=lasting, tags=["t"]) == "j#2"


def test_a_stored_error_is_a_miss_for_who_is_not_prepared(cache, origin):
    """`get`, and callers whose policy does not list it, never meet it."""
    policy = CachePolicy(ttl=60, cache_errors=(PairUnknown,), error_ttl=60)
    origin.fail_with(PairUnknown("k"))
    with pytest.raises(PairUnknown):
        cache.get_or_load("k", origin.loader("k"), policy=policy)
    assert cache.get("k") is MISS
    origin.recover()
    assert cache.get_or_load("k", origin.loader("k"), ttl=60) == "k#2"


def test_an_answer_in_the_form_of_an_error_replaces_a_stale_value(cache, origin):
    """ "No such pair" is no failure that an old price should cover."""
    policy = CachePolicy(ttl=BRIEF, stale_if_error=60, cache_errors=(PairUnknown,), early_refresh=False)
    cache.get_or_load("k", origin.loader("k"), policy=policy)
    expired(cache)
    origin.fail_with(PairUnknown("k"))
    with pytest.raises(PairUnknown):
        cache.get_or_load("k", origin.loader("k"), policy=policy)


def test_keys_that_a_batch_lacks_may_be_remembered(cache, origin):
    """NotLoaded is an error like any other."""
    policy = CachePolicy(ttl=60, cache_errors=(NotLoaded,), error_ttl=60)
    asked = []
    for _ in range(2):
        assert cache.get_or_load_many(
            ["a", "b"], lambda keys: asked.append(keys) or {"a": 1}, policy=policy
        ) == {"a": 1}
    assert asked == [["a", "b"]]


def test_an_error_that_cannot_be_kept_is_only_raised(cache):
    """One that its args do not make again; nothing else goes wrong."""

    class Odd(LookupError):
        def __init__(self, one, two):
            super().__init__(one)

    asked = []

    def load():
        asked.append(1)
        raise Odd(1, 2)

    for _ in range(2):
        with pytest.raises(Odd):
            cache.get_or_load("k", load, policy=CachePolicy(ttl=60, cache_errors=(LookupError,)))
    assert len(asked) == 2


def test_none_is_a_value(cache):
    """It is stored and served like any other."""
    asked = []
    assert [cache.get_or_load("k", lambda: asked.append(1), ttl=60) for _ in range(3)] == [None] * 3
    assert len(asked) == 1
    assert cache.get("k") is None


def test_l1_asks_again_after_its_own_ttl(make_cache, redis_url, origin):
    """The copy is checked with one read, and goes on if it still counts; the origin is not asked."""
    cache = connected(make_cache(redis_url))
    policy = CachePolicy(ttl=60, l1_ttl=BRIEF, early_refresh=False)
    cache.get_or_load("k", origin.loader("k"), policy=policy)
    looks = []
    read = cache.runtime.store.read
    cache.runtime.store.read = lambda *args: looks.append(1) or read(*args)

    def layer():
        return cache.fetch("k", origin.loader("k"), policy=policy).layer

    until(lambda: layer() == "l2", "the copy was checked")
    assert layer() == "l1"
    assert looks
    assert origin.calls("k") == 1


def test_l1_s_ttl_means_nothing_where_l1_is_all_there_is(make_cache, origin):
    """`memory://` has nobody to ask."""
    cache = make_cache()
    policy = CachePolicy(ttl=60, l1_ttl=0, early_refresh=False)
    assert [cache.get_or_load("k", origin.loader("k"), policy=policy) for _ in range(2)] == ["k#1"] * 2


def test_large_values_are_stored_compressed(make_cache, redis_url):
    """Above the policy's size, and only there; whoever reads need not know."""
    one, two = make_cache(redis_url), make_cache(redis_url)
    book = {"bids": [["100.0", "1.0"]] * 500}
    squeezed = CachePolicy(ttl=60, compress_above=1_000)
    one.get_or_load("large", lambda: book, policy=squeezed)
    one.get_or_load("small", lambda: 1, policy=squeezed)
    one.get_or_load("plain", lambda: book, ttl=60)
    size = one.gateway.way.server.client.strlen
    place = one.runtime.keyspace.value
    assert size(place("large")) < size(place("plain")) / 10
    assert two.get("large") == two.get("plain") == book
    assert (two.get("small"), one.get("large")) == (1, book)


def test_a_loader_under_a_timeout_outlives_a_dead_redis(make_cache, start_redis, origin):
    """Redis being away changes nothing of the timeouts."""
    server = start_redis()
    cache = connected(make_cache(server.url, op_timeout=0.1))
    server.kill()
    until(lambda: not cache.gateway.probe(), "Redis is away")
    policy = CachePolicy(ttl=60, hard_timeout=0.5)
    origin.hold()
    with pytest.raises(LoadTimeout):
        cache.get_or_load("k", origin.loader("k"), policy=policy)
    origin.release()
    assert cache.get_or_load("j", origin.loader("j"), policy=policy) == "j#1"
