"""What callers ask for is checked once, and what follows from it holds only as long as it follows."""

from __future__ import annotations

import pytest

from cache_ext import ConfigurationError
from cache_ext.errors import StoreUnavailable
from cache_ext.keys import KeySpace
from cache_ext.stores.plans import Plan
from cache_ext.wanted import Batches
from tests.caches import connected

KEYS = ["a", "b", "c"]


def one_tag(key):
    """Return the tags of *key*."""
    return (f"tag:{key}",)


def test_the_same_batch_is_the_same_object():
    """Whichever strings it is named by; another batch, or other tags, is another."""
    batches = Batches()
    first = batches.get(KEYS, one_tag)
    assert first == {"a": ("tag:a",), "b": ("tag:b",), "c": ("tag:c",)}
    assert batches.get(["".join(key) for key in KEYS], one_tag) is first
    assert batches.get(KEYS[:2], one_tag) is not first
    assert batches.get(KEYS, lambda key: ()) == dict.fromkeys(KEYS, ())
    assert batches.get(KEYS, None) == dict.fromkeys(KEYS, ())


def test_repetitions_are_one():
    """Of keys, and of the tags of one."""
    assert Batches().get(["a", "b", "a"], lambda key: ("t", "t")) == {"a": ("t",), "b": ("t",)}


@pytest.mark.parametrize("kind", [list, set, iter, lambda tags: (tag for tag in tags)])
def test_tags_that_may_change_are_asked_for_each_time(kind):
    """Only tuples are remembered."""
    batches, tags = Batches(), ["t1"]
    assert batches.get(KEYS, lambda key: kind(tags)) == dict.fromkeys(KEYS, ("t1",))
    tags[0] = "t2"
    assert batches.get(KEYS, lambda key: kind(tags)) == dict.fromkeys(KEYS, ("t2",))


def test_an_object_whose_tags_change_is_asked_each_time():
    """Though it can be looked up, as a tuple can."""

    class Basket:
        def __init__(self):
            self.tags = ["t1"]

        def __iter__(self):
            return iter(self.tags)

    batches, basket = Batches(), Basket()
    assert batches.get(KEYS, lambda key: basket) == dict.fromkeys(KEYS, ("t1",))
    basket.tags[0] = "t2"
    assert batches.get(KEYS, lambda key: basket) == dict.fromkeys(KEYS, ("t2",))


@pytest.mark.parametrize("keys", [["a", ["b"]], ["a", 5], ["a", ""], ["a", "b\n"]])
def test_what_is_no_name_is_refused_each_time(keys):
    """Looked up or not."""
    batches = Batches()
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            batches.get(keys, one_tag)
        with pytest.raises(ConfigurationError):
            batches.get(["k"], lambda key: tuple(keys))


def test_many_keys_are_not_remembered():
    """They would take more than they save."""
    batches, keys = Batches(), [str(number) for number in range(2_000)]
    assert batches.get(keys, one_tag) is not batches.get(keys, one_tag)


def test_a_batch_that_was_asked_for_before_sees_what_happened_since(make_cache, redis_url):
    """An invalidation, a tag that an entry turned out to carry, a namespace that was cleared."""
    writer, cache = connected(make_cache(redis_url)), connected(make_cache(redis_url, l1_max_bytes=0))
    made = []

    def load(keys):
        made.append(sorted(keys))
        return dict.fromkeys(keys, len(made))

    def read():
        return [cache.get_or_load_many(KEYS, load, tags_for=one_tag)[key] for key in KEYS]

    writer.get_or_load_many(KEYS, load, tags_for=one_tag)
    assert [read(), read()] == [[1, 1, 1]] * 2
    cache.invalidate_tags("tag:b")
    assert [read(), read()] == [[1, 2, 1]] * 2
    cache.set("c", 9, tags=("tag:c", "more"))
    assert [read(), read()] == [[1, 2, 9]] * 2
    cache.invalidate_tags("more")
    assert [read(), read()] == [[1, 2, 3]] * 2
    cache.invalidate_tags("tag:a", soft=True)
    assert [read(), read()] == [[4, 2, 3]] * 2
    cache.clear()
    assert [read(), read()] == [[5, 5, 5]] * 2
    cache.delete("a")
    assert [read(), read()] == [[6, 5, 5]] * 2


def test_tags_that_an_entry_turned_out_to_carry_come_along(make_cache, redis_url):
    """Once seen, they cost a batch that was asked for before no second trip; nor do those seen later."""
    writer, reader = connected(make_cache(redis_url)), connected(make_cache(redis_url, l1_max_bytes=0))
    sent = []
    run = reader.gateway.run
    reader.gateway.run = lambda commands, operation="other": (
        sent.append(operation) or run(commands, operation)
    )

    def trips():
        sent.clear()
        reader.get_or_load_many(KEYS, dict.fromkeys, tags_for=one_tag)
        return sent.count("read")

    for more in ("more", "even more"):
        for key in KEYS:
            writer.set(key, 1, tags=(*one_tag(key), more))
        assert [trips(), trips()] == [2, 1]


@pytest.mark.parametrize("replies", [[[]], [[None] * 9], [[b"e", b"v", [b"1"]]], [[b"e", 7, b"1"]]])
def test_what_is_no_reply_is_as_none(replies):
    """Too few, too many, or of another type."""
    plan = Plan(KeySpace("n"), ["{x}k"], ["{x}t"], grouped=False)
    assert plan.places == 3
    with pytest.raises(StoreUnavailable):
        plan.sorted(replies)
