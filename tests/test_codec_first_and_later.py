"""A first load returns exactly what later hits do: from L1, from Redis elsewhere, sealed, compressed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings

from cache_ext import CachePolicy, UnsupportedValue
from tests.caches import connected
from tests.kept_values import DIFFICULT, VALUES, shape

FAST = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
POLICIES = [
    CachePolicy(ttl=60),
    CachePolicy(ttl=60, compress_above=0),
    CachePolicy(ttl=60, sensitive=True),
    CachePolicy(ttl=60, sensitive=True, compress_above=0),
]


@pytest.fixture
def pair(make_cache, redis_url):
    """Two caches of one namespace, as two processes have them."""
    return [connected(make_cache(redis_url, secret_keys=("s" * 32,))) for _ in range(2)]


def nobody():
    """Stand for a loader that is not to be called."""
    raise AssertionError("it was there")


def same_everywhere(pair, key, value, policy):
    """Load *value* with one of *pair*; check that all that is read of *key* later is the same."""
    one, other = pair
    loaded = one.fetch(key, lambda: value, policy=policy)
    near = one.fetch(key, nobody, policy=policy)
    far = other.fetch(key, nobody, policy=policy)
    copied = other.fetch(key, nobody, policy=policy)
    assert [answer.layer for answer in (loaded, near, far, copied)] == ["origin", "l1", "l2", "l1"]
    for answer in (loaded, near, far, copied):
        assert shape(answer.value) == shape(value)


@pytest.mark.parametrize("policy", POLICIES, ids=["plain", "compressed", "sealed", "both"])
def test_a_later_hit_is_what_the_first_load_returned(pair, policy):
    """For the corners of each type, nested, as keys, in whichever way they travel."""
    for number, value in enumerate(DIFFICULT):
        same_everywhere(pair, f"k{number}", value, policy)


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_any_value_is_the_same_at_first_and_later(pair):
    """Likewise for values that nobody thought of."""
    numbers = itertools.count()

    @given(VALUES)
    @FAST
    def holds(value):
        number = next(numbers)
        same_everywhere(pair, f"k{number}", value, POLICIES[number % len(POLICIES)])

    holds()


@pytest.mark.parametrize("value", [2**64, [-(2**63) - 1], {"n": 10**30}, {2**64: 1}], ids=repr)
def test_whole_numbers_of_more_than_64_bits_are_refused_at_once(pair, value):
    """They are an UnsupportedValue at `set` and at the first load, not a surprise at a later hit."""
    with pytest.raises(UnsupportedValue):
        pair[0].set("k", value, ttl=60)
    with pytest.raises(UnsupportedValue):
        pair[0].get_or_load("k", lambda: value, ttl=60)


def test_a_value_that_fits_only_while_compressed_is_refused(make_cache, redis_url):
    """It is an UnsupportedValue at `set`; a load of it answers, stores nothing, and is done again."""
    cache = connected(make_cache(redis_url, max_entry_bytes=1_000))
    policy = CachePolicy(ttl=60, compress_above=100)
    with pytest.raises(UnsupportedValue, match="max_entry_bytes"):
        cache.set("k", "x" * 2_000, policy=policy)
    loads = itertools.count(1)
    for _ in range(2):
        assert cache.get_or_load("k", lambda: f"{next(loads)}" * 2_000, policy=policy)
    assert next(loads) == 3
    cache.set("k", "x" * 900, policy=policy)
    assert cache.get("k") == "x" * 900
