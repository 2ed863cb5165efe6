"""What comes from the shared store is decoded once for its first taker, and is nobody else's."""

from __future__ import annotations

import pytest

from cache_ext.reading.shelf import PLACE_BYTES
from tests.caches import all_at_once, connected

FLAT = {"price": 1.5, "pair": "SOL-USDC"}
NESTED = {"bids": [[1.0, 2.0]], "asks": []}


@pytest.fixture(params=[FLAT, NESTED], ids=["flat", "nested"])
def value(request):
    """A value that its taker can change."""
    return request.param


@pytest.fixture
def reader(make_cache, redis_url, value):
    """A cache with an empty L1, where another has stored *value*."""
    make_cache(redis_url).set("key", value, ttl=60, tags=("tag",))
    return connected(make_cache(redis_url))


def test_no_two_readers_are_given_the_same_object(reader, value):
    """Whoever changes what he was given changes it for nobody, be he the first, the second or a later one."""
    for _ in range(4):
        mine = reader.get("key")
        assert mine == value
        mine["changed"] = True
    assert reader.get("key") == value


def test_readers_who_look_together_are_given_objects_of_their_own(reader, value):
    """One look for twenty threads makes twenty objects."""
    given = all_at_once(20, lambda _: reader.get("key"))
    assert given == [value] * 20
    assert len({id(each) for each in given}) == 20


def test_what_is_held_for_the_second_taker_counts(reader, value):
    """L1 counts only the payload until a value is taken again; then what is held for its copies too."""
    reader.get("key")
    first = reader.runtime.near.sizes()[1]
    reader.get("key")
    held = reader.runtime.near.sizes()[1] - first
    assert held > 0 if value is FLAT else held == 0
    reader.get("key")
    assert reader.runtime.near.sizes()[1] == first + held
    reader.runtime.near.delete(["key"])
    count, remembered = reader.runtime.near.sizes()
    assert (count, remembered <= PLACE_BYTES) == (0, True)


def test_the_undecodable_is_a_miss_among_others(make_cache, redis_url, reader, value):
    """In a batch, bytes that cannot be decoded are a miss; those around them are not."""
    make_cache(redis_url).set("other", value, ttl=60)
    client = reader.gateway.way.server.client
    client.set(reader.runtime.keyspace.value("key"), b"\x9a\x01\xc4\x08nonsense")
    asked = []
    assert reader.get_or_load_many(["key", "other"], lambda keys: asked.append(keys) or {}) == {
        "other": value
    }
    assert asked == [["key"]]
