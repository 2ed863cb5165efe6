"""Loads inside loads: tags, versions and lifetimes are inherited; what contradicts itself is not kept."""

from __future__ import annotations

import threading
import time

import pytest

from cache_ext import MISS, CachePolicy, NestedLoadError, Outcome, StoreUnavailable
from tests.caches import begin, connected, deaf, due, stop_after
from tests.waiting import until

SLOW = CachePolicy(ttl=60, early_refresh=False)


def read_child(cache, value="child"):
    """Read the child, which carries a tag."""
    return cache.get_or_load("child", lambda: value, policy=SLOW, tags=["red"])


def read_parent(cache, value="child", tags=()):
    """Read the parent, which is made of the child."""
    return cache.get_or_load("parent", lambda: f"[{read_child(cache, value)}]", policy=SLOW, tags=tags)


def tags_of(cache, key):
    """Return the names of the tags that L1's entry of *key* carries."""
    return sorted(tag for tag, _, _ in cache.runtime.near.get(key).entry.tags)


def test_a_refresh_loads_what_is_due_among_its_parts(cache, origin):
    """Nobody waits for a refresh, so it waits for its parts: one run makes the parent of the new child."""

    def read(key, loader):
        return cache.get_or_load(key, loader, ttl=60)

    def parent():
        return origin.loader("parent")() + " of " + read("child", origin.loader("child"))

    assert read("parent", parent) == "parent#1 of child#1"
    for key in ("parent", "child"):
        due(cache.runtime.near.get(key))
    assert read("parent", parent) == "parent#1 of child#1"
    until(lambda: cache.get("parent") == "parent#2 of child#2", "the refresh is done")
    cache.runtime.refreshes.close(5.0)
    assert (origin.calls("parent"), origin.calls("child")) == (2, 2)


def test_a_refresh_makes_do_with_a_part_that_cannot_be_loaded(cache, origin):
    """What is fresh still counts if loading it ahead of its end fails."""
    child = {"fails": False}

    def read_child():
        if child["fails"]:
            raise LookupError("down")
        return "child"

    def parent():
        found = cache.fetch("child", read_child, ttl=60)
        return f"{origin.loader('parent')()} of a {found.outcome}"

    cache.get_or_load("parent", parent, ttl=60)
    for key in ("parent", "child"):
        due(cache.runtime.near.get(key))
    child["fails"] = True
    cache.get_or_load("parent", parent, ttl=60)
    until(lambda: cache.get("parent") == "parent#2 of a hit", "the refresh is done")


def test_a_parent_inherits_tags(cache):
    """The parent carries its own tags and those of what it read."""
    read_parent(cache, tags=["own"])
    assert tags_of(cache, "parent") == ["own", "red"]


@pytest.mark.parametrize("warm", ["l1", "l2", "set", "get", "batch"])
def test_a_parent_inherits_from_every_way_of_reading(make_cache, redis_url, warm):
    """Tags are inherited from hits in L1 and L2, from `get`, and from batches."""
    cache = connected(make_cache(redis_url))
    read_child(cache if warm == "l1" else make_cache(redis_url))
    read = {
        "get": lambda: cache.get("child"),
        "batch": lambda: cache.get_or_load_many(
            ["child", "twin"], lambda keys: dict.fromkeys(keys, 1), tags_for=lambda key: ["red"]
        ),
    }.get(warm, lambda: read_child(cache))
    cache.get_or_load("parent", read, policy=SLOW)
    assert tags_of(cache, "parent") == ["red"]
    cache.invalidate_tags("red")
    assert cache.get("parent") is MISS


def test_a_grandparent_inherits_too(cache):
    """Tags pass through all levels."""
    cache.get_or_load("grandparent", lambda: read_parent(cache), policy=SLOW)
    assert tags_of(cache, "grandparent") == ["red"]


def test_all_keys_of_a_batch_inherit(cache):
    """What the loader of many reads concerns all the keys it loads."""

    def load(keys):
        return dict.fromkeys(keys, read_child(cache))

    cache.get_or_load_many(["a", "b"], load, policy=SLOW, tags_for=lambda key: [key])
    assert [tags_of(cache, key) for key in "ab"] == [["a", "red"], ["b", "red"]]


def test_invalidating_the_childs_tag_ends_the_parent_everywhere(make_cache, redis_url):
    """In the L1 of the process that invalidates, in that of another, and in L2."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    read_parent(one)
    assert read_parent(two) == "[child]"
    one.invalidate_tags("red")
    assert read_parent(one, "new") == "[new]"
    until(lambda: read_parent(two, "new") == "[new]", "the message is there", 1.0)
    assert connected(make_cache(redis_url)).get("parent") == "[new]"


def test_a_deaf_process_sees_inherited_tags_at_reading(make_cache, redis_url):
    """An L1 copy with inherited tags is judged by them when it is revalidated."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    read_parent(one)
    read_parent(two)
    deaf(two)
    one.invalidate_tags("red")
    assert two.get("parent") is MISS


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_child_invalidated_during_the_parents_load_tears_it(make_cache, redis_url, where):
    """Read before and after the invalidation, the parent is answered, but stored nowhere."""
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))

    def load():
        first = read_child(cache, "old")
        (cache if where == "here" else other).invalidate_tags("red")
        until(lambda: cache.get("child") is MISS, "the invalidation is known here")
        return first + read_child(cache, "new")

    assert cache.get_or_load("parent", load, policy=SLOW) == "oldnew"
    assert cache.get("parent") is MISS
    assert connected(make_cache(redis_url)).get("parent") is MISS


def test_a_child_invalidated_after_it_was_read_kills_the_parent(make_cache, redis_url):
    """The parent is stored with the version under which it read the child, which no longer counts."""
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))

    def load():
        child = read_child(cache)
        other.invalidate_tags("red")
        return child

    assert cache.get_or_load("parent", load, policy=SLOW) == "child"
    until(lambda: cache.get("parent") is MISS, "the message is there", 1.0)
    assert connected(make_cache(redis_url)).get("parent") is MISS


def test_an_L1_copy_older_than_the_load_is_a_miss_inside_it(make_cache, redis_url):  # noqa: N802
    """A load that noted a newer version does not take an L1 copy with the older one, heard of or not."""
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    read_child(cache, "old")
    hearing = cache.runtime._backplane._heard
    cache.runtime._backplane._heard = lambda message: None  # the message is late
    other.invalidate_tags("red")
    assert read_child(cache, "new") == "old"  # within the bound: nothing here knows better
    assert read_parent(cache, "new", tags=["red"]) == "[new]"  # but this load has asked Redis
    cache.runtime._backplane._heard = hearing


def test_what_contradicts_itself_is_not_kept(make_cache, redis_url):
    """Made of a new value and, Redis being away for a moment, of an old copy: answered, stored nowhere."""
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    read_child(cache, "old")
    cache.runtime._backplane._heard = lambda message: None  # the message is late
    other.invalidate_tags("red")
    other.get_or_load("twin", lambda: "new", policy=SLOW, tags=["red"])
    asking = cache.runtime.store.read

    def away(*asked):
        raise StoreUnavailable

    def load():
        twin = cache.get_or_load("twin", lambda: "newer", policy=SLOW, tags=["red"])
        cache.runtime.store.read = away
        child = read_child(cache)
        cache.runtime.store.read = asking
        return twin + child

    assert cache.get_or_load("parent", load, policy=SLOW) == "newold"
    assert cache.get("parent") is MISS
    assert connected(make_cache(redis_url)).get("parent") is MISS


def test_nobody_joins_a_load_older_than_the_frame(make_cache, redis_url):
    """A load that noted a newer version does not join a load of its child that started under the older."""
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    cache.runtime._backplane._heard = lambda message: None  # the message is late
    go_on = threading.Event()
    started = threading.Event()

    def slow():
        started.set()
        go_on.wait(5)
        return "old"

    first = begin(lambda: cache.get_or_load("child", slow, policy=SLOW, tags=["red"]))
    started.wait(5)
    other.invalidate_tags("red")
    joins = stop_after(cache.runtime.store, "begin")
    joins.go()
    second = begin(lambda: read_parent(cache, "new", tags=["red"]))
    joins.wait()
    until(lambda: cache.runtime.flights._open["child"].done._cond._waiters, "the parent waits")
    go_on.set()
    assert first.result(10) == "old"
    assert second.result(10) == "[new]"


def test_a_parent_ends_with_the_first_of_its_children(cache):
    """However long the parent's own ttl: it lives no longer than the shortest-lived part."""

    def load():
        cache.fetch("long", int, ttl=50)
        cache.fetch("short", int, ttl=5)
        return 1

    parent = cache.fetch("parent", load, ttl=60)
    short = cache.fetch("short", int, ttl=5)
    assert parent.ttl_left <= 5
    assert cache.fetch("parent", load, ttl=60).ttl_left == pytest.approx(short.ttl_left, abs=0.05)


def test_a_parent_is_as_old_as_its_oldest_child(make_cache, redis_url):
    """Age counts from the oldest part, in the loading process and in another."""
    cache = connected(make_cache(redis_url))
    read_child(cache)
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > 0.3, "the child has aged")
    assert cache.fetch("parent", lambda: read_child(cache), ttl=30).age >= 0.3
    there = make_cache(redis_url).fetch("parent", lambda: pytest.fail("loaded"), ttl=30)
    assert there.age >= 0.25  # the clock of Redis was read a round trip later
    assert there.ttl_left <= 30


def test_a_parents_own_ttl_holds_if_it_is_shorter(cache):
    """A child that lives longer does not prolong the parent."""
    read_child(cache)
    assert cache.fetch("parent", lambda: read_child(cache), ttl=5).ttl_left <= 5


def test_a_stale_child_makes_no_fresh_parent(make_cache, redis_url):
    """What was made of a value past its ttl is not kept as fresh, and says so."""
    cache = connected(make_cache(redis_url))
    policy = CachePolicy(ttl=0.05, stale_if_error=60, early_refresh=False)

    def down():
        raise LookupError

    cache.get_or_load("child", lambda: 1, policy=policy)
    until(lambda: cache.get("child") is MISS, "the child is stale")
    parent = cache.fetch("parent", lambda: cache.get_or_load("child", down, policy=policy), ttl=60)
    assert parent.value == 1
    assert parent.outcome is Outcome.STALE
    assert cache.get("parent") is MISS


def test_a_loader_that_asks_for_its_own_key_is_an_error(cache):
    """Waiting for oneself would never end."""

    def load():
        return cache.get_or_load("k", load)

    with pytest.raises(NestedLoadError, match="'k'"):
        cache.get_or_load("k", load)


def test_a_circle_over_several_keys_is_an_error(cache):
    """So would waiting for somebody who waits for oneself."""

    def load(key):
        other = {"a": "b", "b": "c", "c": "a"}[key]
        return cache.get_or_load(other, lambda: load(other))

    with pytest.raises(NestedLoadError, match="'a'"):
        cache.get_or_load("a", lambda: load("a"))


def test_a_circle_in_a_batch_blocks_no_other_key(cache):
    """The other keys of the batch in which the circle closes can be read afterwards."""

    def load():
        return cache.get_or_load_many(["other", "k"], lambda keys: dict.fromkeys(keys, 1))

    with pytest.raises(NestedLoadError):
        cache.get_or_load("k", load)
    assert begin(lambda: cache.get_or_load("other", lambda: 2)).result(10) == 2


def count_reads(cache):
    """Return a list that grows with each read that *cache* sends to Redis."""
    sent = []
    run = cache.gateway.run
    cache.gateway.run = lambda commands, operation="other": sent.append(operation) or run(commands, operation)
    return sent


def test_inherited_tags_cost_one_more_trip_once(make_cache, redis_url):
    """A process that does not know which tags an entry inherited asks once more, and never again."""
    read_parent(make_cache(redis_url))
    cache = connected(make_cache(redis_url))
    sent = count_reads(cache)
    assert read_parent(cache) == "[child]"
    assert sent.count("read") == 2
    cache.runtime.near.clear()
    sent.clear()
    assert read_parent(cache) == "[child]"
    assert sent.count("read") == 1


def test_known_tags_cost_no_more_trips(make_cache, redis_url):
    """Tags that the caller names come with the value in one trip."""
    read_child(make_cache(redis_url))
    cache = connected(make_cache(redis_url))
    sent = count_reads(cache)
    assert read_child(cache) == "child"
    assert sent.count("read") == 1


def test_a_tag_that_is_asked_for_since_is_not_missed(make_cache, redis_url):
    """An entry that an older program stored without a tag is a miss for one that wants the tag."""
    make_cache(redis_url).set("k", "untagged")
    cache = connected(make_cache(redis_url))
    assert cache.get_or_load("k", lambda: "tagged", tags=["red"]) == "tagged"
    cache.invalidate_tags("red")
    assert cache.get("k") is MISS


def test_what_is_made_of_a_part_past_the_cache_is_not_stored(cache):
    """It noted no version, so no invalidation of the part's tags would end it."""

    def parent():
        with cache.disabled():
            return cache.get_or_load("part", lambda: "part", tags=["t"])

    assert cache.get_or_load("parent", parent) == "part"
    assert cache.get("parent") is MISS
