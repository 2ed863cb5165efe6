"""What is read most is known from samples, of single reads and batches, and nothing of what is sealed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from cache_ext import CachePolicy, HttpCache, TieredCache
from cache_ext.reading.fetching import Fetcher
from cache_ext.stats.reporting import report_of
from cache_ext.stats.sampling import PLACES, Sampler, Table
from tests.caches import all_at_once, connected

PLAIN = CachePolicy(ttl=600, name="price")
SECRET = CachePolicy(ttl=600, sensitive=True, name="identity")
MANY = 1_000_000


def read(cache: TieredCache, key: str, **more: Any) -> None:
    """Read *key*."""
    cache.get_or_load(key, lambda: 1, policy=PLAIN, **more)


def tops(cache: TieredCache) -> tuple[dict[str, int], dict[str, int]]:
    """Return the most read keys and tags."""
    report = report_of(cache)
    keys, tags = ({each.name: each.reads for each in found} for found in (report.top_keys, report.top_tags))
    return keys, tags


@pytest.fixture
def cache(make_cache: Callable[..., TieredCache]) -> TieredCache:
    """A cache of this process alone whose sampler looks all the time."""
    made = make_cache("memory://", secret_keys=("s" * 32,))
    made.runtime.stats.history()
    made.runtime.sampler._left = MANY
    return made


def test_a_table_keeps_what_is_frequent_however_much_is_not() -> None:
    """Three names among twenty thousand that come once each; their counts are about right."""
    table, chance = Table(), random.Random(1)
    for number in range(20_000):
        table.add(f"rare-{number}")
        for name, share in (("a", 0.5), ("b", 0.2), ("c", 0.1)):
            if chance.random() < share:
                table.add(name)
    counts = table.counts()
    assert len(counts) == PLACES
    assert sorted(counts, key=counts.__getitem__)[:-4:-1] == ["a", "b", "c"]
    assert counts["a"] == pytest.approx(10_000, rel=0.05)


def test_the_most_read_keys_and_tags_are_known(cache: TieredCache) -> None:
    """First and later reads, in about the number that there were."""
    for number in range(100):
        read(cache, "price:hot", tags=("pair:hot",))
        if number % 10 == 0:
            read(cache, "price:warm", tags=("pair:warm",))
    keys, tags = tops(cache)
    assert keys == {"price:hot": 100, "price:warm": 10}
    assert tags == {"pair:hot": 100, "pair:warm": 10}


def test_each_key_of_a_batch_counts(cache: TieredCache) -> None:
    """Found or loaded."""
    for _ in range(3):
        cache.get_or_load_many(["price:1", "price:2"], lambda keys: dict.fromkeys(keys, 1), policy=PLAIN)
    assert tops(cache)[0] == {"price:1": 3, "price:2": 3}


def test_nothing_is_told_of_what_is_sealed(cache: TieredCache) -> None:
    """Its keys may be secrets."""
    for _ in range(3):
        cache.get_or_load("who:secret", lambda: 1, policy=SECRET, tags=("account:1",))
        cache.get_or_load_many(["who:2"], lambda keys: dict.fromkeys(keys, 1), policy=SECRET)
    assert tops(cache) == ({}, {})


def test_reads_beyond_a_burst_are_not_looked_at_but_stood_for(cache: TieredCache) -> None:
    """The methods are then what they were, and the figures are of all reads still."""
    cache.runtime.sampler._left = 10
    for _ in range(100):
        read(cache, "price:hot")
    assert cache._near == cache._fetcher.near
    assert cache._fetcher._answers.__func__ is Fetcher._answers
    assert sum(minute.reads for minute in cache.runtime.sampler._minutes) == 10
    assert tops(cache)[0] == {"price:hot": 100}


class Door:
    """What reads go through."""

    def near(self, key: str) -> None:
        """Find nothing."""


def test_what_was_read_long_ago_is_forgotten() -> None:
    """Two minutes are kept."""
    door, sampler = Door(), Sampler()
    sampler.watch(door, "near", lambda given, found: ((given[0], ()),))
    for minute, key in ((1, "a"), (2, "b"), (3, "c")):
        sampler.tick(minute)
        door.near(key)
    assert sampler.top(2).keys == {"b": 1, "c": 1}


def test_reading_at_once_while_looking_begins_and_ends_breaks_nothing(cache: TieredCache) -> None:
    """Threads that read while it is switched on and off again and again."""
    sampler = cache.runtime.sampler
    sampler._left = 1

    def work(number: int) -> None:
        for _ in range(500):
            read(cache, f"price:{number}")
            if number == 0:
                sampler.tick(sampler._number)
                sampler._left = 1

    all_at_once(4, work)
    read(cache, "price:0")
    assert cache._near == cache._fetcher.near
    assert report_of(cache).total.reads == 4 * 500 + 1


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer what may be kept."""
    start_response("200 OK", [("Cache-Control", "public, max-age=60")])
    return [b"x"]


def ask(door: HttpCache, times: int) -> None:
    """Send the same request again and again."""
    environ = {"REQUEST_METHOD": "GET", "HTTP_HOST": "a.example", "PATH_INFO": "/p"}
    for _ in range(times):
        assert (
            b"".join(door({**environ, "wsgi.url_scheme": "http"}, lambda *given: lambda data: None)) == b"x"
        )


def test_stored_responses_count_by_their_place(make_cache: Callable[..., TieredCache]) -> None:
    """Also in a child of a process that forked while it looked."""
    cache = make_cache("memory://")
    door = HttpCache(application, cache=cache)
    cache.runtime.stats.history()
    cache.runtime.sampler._left = MANY
    ask(door, 5)
    keys, _ = tops(cache)
    assert [count for key, count in keys.items() if "a.example/p" in key] == [5]
    if (child := os.fork()) == 0:
        try:
            cache.runtime.stats.history()
            ask(door, 3)
            keys, _ = tops(cache)
            os._exit(0 if [count for key, count in keys.items() if "a.example/p" in key] == [3] else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_the_tops_of_all_processes_are_added_up(
    make_cache: Callable[..., TieredCache], redis_url: str
) -> None:
    """Each tells its own."""
    pair = [connected(make_cache(redis_url)) for _ in range(2)]
    for cache in pair:
        cache.runtime.stats.tick()
        for _ in range(20):
            read(cache, "price:1")
        cache.runtime.stats.tick()
    told = [dict(cache.runtime.stats.describe().top_keys) for cache in pair]
    assert tops(pair[0])[0]["price:1"] == sum(each["price:1"] for each in told) >= 20
