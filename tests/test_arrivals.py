"""What was read in batches becomes slots of L1 when it is asked for, and is fenced until then."""

from __future__ import annotations

import gc
import os
import tracemalloc

import pytest

from cache_ext.entry import Version
from cache_ext.reading.near import NearCache
from cache_ext.reading.slot import Slot
from tests.caches import all_at_once, connected
from tests.slots import LARGE, assert_whole, slot
from tests.waiting import until


class Batch:
    """One whose slots carry the tag "t", of version 3."""

    def __init__(self, cache: NearCache) -> None:
        self.mark = cache.mark()
        self.made: list[Slot] = []

    def slot(self, key: str, blob: bytes) -> Slot:
        """Return a slot as large as *blob*."""
        self.made.append(slot(key, len(blob), tags=[("t", 3)]))
        return self.made[-1]


def arrive(cache: NearCache, *keys: str, size: int = 100) -> Batch:
    """Have *keys* arrive in one batch."""
    batch = Batch(cache)
    cache.expect({key: os.urandom(size) for key in keys}, batch)
    return batch


def test_an_arrival_becomes_a_slot_when_it_is_asked_for():
    """Only then, and once; meanwhile it counts as being there."""
    cache = NearCache(LARGE)
    batch = arrive(cache, "a", "b")
    assert cache.held(["a", "b", "c"]) == {"a", "b"}
    assert cache.has("a")
    assert cache.sizes()[0] == 2
    assert batch.made == []
    found = cache.get("a")
    assert found is not None
    assert found.asked
    assert cache.get("a") is found
    assert batch.made == [found]
    assert cache.sizes()[0] == 2
    assert_whole(cache)


@pytest.mark.parametrize(
    "event",
    [
        lambda cache: cache.invalidate(["t"]),
        lambda cache: cache.invalidate(["t"], Version(b"e", 9)),
        lambda cache: cache.delete(["k"]),
        lambda cache: cache.clear(),
        lambda cache: cache.drop("k"),
        lambda cache: cache.replaced("k", b"another!"),
    ],
    ids=["tag", "numbered", "key", "clear", "drop", "replaced"],
)
def test_what_happens_before_it_is_asked_for_counts(event):
    """An arrival that was invalidated, deleted or replaced is nothing, and leaves nothing."""
    cache = NearCache(LARGE)
    arrive(cache, "k")
    event(cache)
    assert cache.get("k") is None
    assert cache.sizes()[0] == 0
    assert_whole(cache)


def test_an_arrival_that_was_softened_is_stale():
    """It may serve past its ttl only, as a slot would."""
    cache = NearCache(LARGE)
    arrive(cache, "k")
    cache.soften(["t"], 5.0)
    found = cache.get("k")
    assert found is not None
    assert found.fresh_until == 5.0


def test_deleting_counts_arrivals():
    """They are told as slots are."""
    cache = NearCache(LARGE)
    arrive(cache, "a", "b")
    cache.get("a")
    assert cache.delete(["a", "b", "c"]) == 2


def test_the_later_one_stays():
    """Of an arrival and a slot of one key, whichever came later is there, and nothing of the other."""
    cache = NearCache(LARGE)
    cache.put(slot("k"), cache.mark())
    batch = arrive(cache, "k")
    assert cache.get("k") is batch.made[0]
    arrive(cache, "k")
    newest = slot("k")
    cache.put(newest, cache.mark())
    assert cache.get("k") is newest
    cache.drop("k")
    assert cache.get("k") is None
    assert_whole(cache)


def test_listing_the_slots_makes_them():
    """Whoever looks at all of L1 sees arrivals too."""
    cache = NearCache(LARGE)
    arrive(cache, "a", "b")
    assert sorted(each.key for each in cache.slots()) == ["a", "b"]


def test_too_many_arrivals_become_slots():
    """The first to come are put first; the bound holds, and what is evicted is told."""
    gone = []
    cache = NearCache(100_000, evicted=lambda key, size: gone.append(key))
    for number in range(300):
        arrive(cache, *[f"{number}:{each}" for each in range(5)])
        assert cache.sizes()[1] <= 100_000
        assert cache._shelf.arrivals.bytes <= 5_000
    assert_whole(cache)
    assert "0:0" in gone
    assert cache.has("299:4")


def test_a_batch_too_large_for_its_share_is_kept_where_there_is_room():
    """It is put at once."""
    cache = NearCache(100_000)
    arrive(cache, *map(str, range(40)))
    assert cache.sizes()[0] == 40
    assert_whole(cache)


def test_what_is_larger_than_l1_is_not_kept():
    """Neither the arrival nor what it would become."""
    cache = NearCache(10_000)
    arrive(cache, "k", size=20_000)
    assert cache.sizes()[0] == 0
    assert cache.get("k") is None


def test_those_who_ask_at_once_get_one_slot():
    """It is made once."""
    cache = NearCache(LARGE)
    batch = arrive(cache, "k")
    found = all_at_once(8, lambda _: cache.get("k"))
    assert set(map(id, found)) == {id(batch.made[0])}


@pytest.mark.parametrize("size", [100, 2_000])
@pytest.mark.parametrize("together", [1, 100])
def test_the_counted_bytes_of_arrivals_are_honest(together, size):
    """What is counted is what an arrival takes that came alone; those that came together take less."""
    cache = NearCache(LARGE)
    gc.collect()
    tracemalloc.start()
    for number in range(3_000 // together):
        arrive(cache, *[f"key:{number}:{each}" for each in range(together)], size=size)
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken <= cache.sizes()[1] <= (1.1 if together == 1 else 1.8) * taken


def test_a_batch_read_from_redis_is_in_l1(make_cache, redis_url):
    """The next read of any of its keys asks nobody, and an invalidation elsewhere ends it."""
    writer, reader = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    keys = [f"k{number}" for number in range(10)]

    def read(cache, value):
        found = cache.fetch_many(
            keys, lambda names: dict.fromkeys(names, value), tags_for=lambda key: (f"t:{key}",)
        )
        return {key: (each.value, each.layer) for key, each in found.items()}

    read(writer, "old")
    assert set(read(reader, "odd").values()) == {("old", "l2")}
    assert set(read(reader, "odd").values()) == {("old", "l1")}
    writer.invalidate_tags("t:k3")
    until(lambda: not reader.runtime.near.has("k3"), "the invalidation is heard")
    assert read(reader, "new") == dict.fromkeys(keys, ("old", "l1")) | {"k3": ("new", "origin")}
