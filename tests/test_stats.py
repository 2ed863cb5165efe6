"""What caches of one namespace count is known of all of them together, each thing once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import redis

from cache_ext import CachePolicy, StoreUnavailable, TieredCache
from cache_ext.keys import KeySpace
from cache_ext.stats import keys
from cache_ext.stats.keys import count_keys
from cache_ext.stats.own import BUCKET
from cache_ext.stats.report import CacheStats
from cache_ext.stats.reporting import hottest, report_of
from cache_ext.stores.walking import Sizes
from tests.caches import all_at_once, begin, connected, due
from tests.waiting import until

PRICE = CachePolicy(ttl=600, name="price", early_refresh=True)
BOUNDED = {"DBSIZE", "EVALSHA", "HSCAN", "INFO", "MGET", "PING", "SCAN", "SET", "STRLEN", "TIME", "ZREVRANGE"}
"""What asking for stats sends: each command steps over a page at most."""
BOOK = CachePolicy(ttl=600, name="book")


def told(cache: TieredCache, name: str = "price") -> CacheStats:
    """Return what is known of the cache *name*, after all that *cache* counted was told."""
    cache.runtime.stats.tick()
    report = report_of(cache)
    assert report.complete
    return report.caches[name]


def hits_by_own_count(caches: Iterable[TieredCache], layer: str) -> int:
    """Return how many hits of a layer the caches counted, whoever was told."""
    return sum(cache.runtime.tally.totals().get(("price", layer, "hit"), 0) for cache in caches)


def begun(cache: TieredCache) -> int:
    """Return how often *cache* tried to begin a load."""
    totals = cache.runtime.counts.totals()
    return sum(count for field, count in totals.items() if field[:2] == ("trip", "begin"))


@pytest.fixture
def pair(make_cache: Callable[..., TieredCache], redis_url: str) -> tuple[TieredCache, TieredCache]:
    """Two caches of one namespace, as two processes have them."""
    return connected(make_cache(redis_url)), connected(make_cache(redis_url))


def test_reads_loads_and_layers_are_counted_of_both(pair: tuple[TieredCache, TieredCache]) -> None:
    """One loads, the other finds it in Redis, both read their own copies; whoever is asked says the same."""
    for number, cache in enumerate(pair):
        for _ in range(5 + number):
            cache.get_or_load("price:1", lambda: 1, policy=PRICE)
        cache.get_or_load(f"book:{number}", lambda: 2, policy=BOOK)
        cache.runtime.stats.tick()
    for cache in pair:
        report = report_of(cache)
        price, book = report.caches["price"], report.caches["book"]
        assert (sum(price.hits.values()), price.misses, price.stale, price.errors) == (10, 1, 0, 0)
        assert price.hits == {layer: hits_by_own_count(pair, layer) for layer in ("l1", "l2")}
        assert price.hit_rate == {"1": 0.9091, "5": 0.9091, "60": 0.9091}
        assert (price.loads.count, book.loads.count, report.total.loads.count) == (1, 2, 3)
        assert (book.misses, report.total.misses, sum(report.total.hits.values())) == (2, 3, 10)
        assert len(report.processes) == 2
        assert {member.pid for member in report.processes} == {os.getpid()}
        assert report.backplane.live + report.backplane.deaf == 2
        assert report.operations["read"].count >= 3


def test_stale_values_errors_and_plain_misses_are_counted(pair: tuple[TieredCache, TieredCache]) -> None:
    """Each where it belongs."""
    cache, _ = pair
    lasting = CachePolicy(ttl=600, stale_if_error=600, name="price")

    def fails() -> Any:
        raise LookupError("no")

    cache.get_or_load("price:1", lambda: 1, policy=lasting, tags=("t",))
    cache.invalidate_tags("t", soft=True)
    assert cache.get_or_load("price:1", fails, policy=lasting, tags=("t",)) == 1
    with pytest.raises(LookupError):
        cache.get_or_load("price:2", fails, policy=lasting)
    cache.get("price:3")
    price = told(cache)
    assert (price.misses, price.stale, price.errors, price.loads.count) == (1, 1, 1, 3)
    assert told(cache, "direct").misses == 1


def test_what_the_origin_was_spared_is_its_time_for_the_hits(pair: tuple[TieredCache, TieredCache]) -> None:
    """Hits times the time of a load."""
    cache, _ = pair
    over = threading.Event()
    cache.get_or_load("price:1", lambda: over.wait(0.2), policy=PRICE)
    for _ in range(10):
        cache.get_or_load("price:1", lambda: 1, policy=PRICE)
    price = told(cache)
    assert price.loads.p50 is not None
    assert price.loads.p50 > 0.15
    assert price.load_seconds_saved == pytest.approx(10 * price.loads.p50, rel=0.01)


def test_who_waits_for_another_is_counted(pair: tuple[TieredCache, TieredCache], origin: Any) -> None:
    """In the process that loads, and in one that finds the lease taken."""
    origin.hold()
    crowd = begin(
        lambda: all_at_once(4, lambda _: pair[0].get_or_load("price:1", origin.loader("k"), policy=PRICE))
    )
    origin.wait_for_call("k")
    other = begin(lambda: pair[1].get_or_load("price:1", origin.loader("k"), policy=PRICE))
    waits = ("event", "coalesced", "price")
    until(lambda: pair[1].runtime.counts.totals().get(waits) == 1, "the other waits")
    until(lambda: pair[0].runtime.counts.totals().get(waits) == 3, "three of four wait")
    pair[1].runtime.flights.wake_all()  # in vain: it looks, and goes on waiting
    until(lambda: begun(pair[1]) >= 2, "the other has tried again")
    origin.release()
    assert {*crowd.result(10), other.result(10)} == {"k#1"}
    for cache in pair:
        cache.runtime.stats.tick()
    assert (told(pair[0]).coalesced_waits, told(pair[0]).loads.count) == (4, 1)


def test_early_refreshes_are_counted_and_others_are_not(pair: tuple[TieredCache, TieredCache]) -> None:
    """A refresh of what is past its ttl is none."""
    cache, _ = pair
    lasting = CachePolicy(ttl=600, stale_while_revalidate=600, name="price")
    cache.get_or_load("price:1", lambda: 1, policy=lasting, tags=("t",))
    due(cache.runtime.near.get("price:1"))
    assert cache.get_or_load("price:1", lambda: 2, policy=lasting, tags=("t",)) == 1
    until(lambda: cache.get("price:1") == 2, "it is refreshed")
    assert told(cache).early_refreshes == 1
    cache.invalidate_tags("t", soft=True)
    assert cache.get_or_load("price:1", lambda: 3, policy=lasting, tags=("t",)) == 2
    until(lambda: cache.get("price:1") == 3, "it is refreshed")
    price = told(cache)
    assert (price.early_refreshes, price.stale, price.loads.count) == (1, 1, 3)


def test_an_hour_is_told_by_the_minute(
    pair: tuple[TieredCache, TieredCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each minute in its place, one after another up to this one, and together they are the hour."""
    cache, other = pair
    now = cache.runtime.stats._minute()
    over = threading.Event()
    for ago, reads in ((0, 1), (50, 2), (5, 4)):
        monkeypatch.setattr(cache.runtime.stats, "_minute", lambda ago=ago: now - ago)
        for _ in range(reads):
            cache.get_or_load("price:1", lambda: over.wait(0.2), policy=PRICE)
        cache.runtime.stats.tick()
    report = report_of(other)
    minutes = report.minutes
    assert [each.at for each in minutes] == [(report.at // 60 - ago) * 60 for ago in range(60, -1, -1)]
    told = {int(each.at) // 60: each for each in minutes if each.reads}
    assert {now - minute: each.reads for minute, each in told.items()} == {0: 1, 50: 2, 5: 4}
    assert (told[now].misses, told[now].loads.count, told[now - 5].loads.count) == (1, 1, 0)
    assert told[now].redis_reads.count >= 1
    total = report.total
    for layer in ("l1", "l2"):
        assert sum(each.hits[layer] for each in minutes) == total.hits[layer]
    assert sum(each.load_seconds_saved for each in minutes) == pytest.approx(total.load_seconds_saved)
    assert told[now].load_seconds == pytest.approx(0.2, rel=0.2)
    assert told[now - 5].load_seconds_saved == pytest.approx(0.8, rel=0.2)


def test_evictions_are_counted_by_the_cache_of_the_key(
    make_cache: Callable[..., TieredCache], redis_url: str
) -> None:
    """Whose it is is known from who loaded its like."""
    cache = connected(make_cache(redis_url, l1_max_bytes=20_000))
    for number in range(100):
        cache.get_or_load(f"price:{number}", lambda: 1, policy=PRICE)
    kept = cache.runtime.near.sizes()[0]
    assert told(cache).evictions == 100 - kept > 0


def test_a_reply_that_is_lost_makes_nothing_count_twice(
    pair: tuple[TieredCache, TieredCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told and may not have arrived is told again as it was, and what came since after it."""
    cache, other = pair
    own, run = cache.runtime.stats, cache.gateway.run_aside
    cache.runtime._upkeep.stop()  # nobody else tells
    own.tick()
    cache.get_or_load("price:1", lambda: 1, policy=PRICE)

    def lossy(*given: Any) -> Any:
        run(*given)
        raise StoreUnavailable("the reply is lost")

    with monkeypatch.context() as patch:
        patch.setattr(cache.gateway, "run_aside", lossy)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                own.tick()
    cache.get_or_load("price:1", lambda: 1, policy=PRICE)
    own.tick()
    own.tick()
    price = told(other)
    assert (price.misses, sum(price.hits.values()), price.loads.count) == (1, 1, 1)


def test_what_others_put_there_is_passed_over(pair: tuple[TieredCache, TieredCache], redis_url: str) -> None:
    """Keys of another type are replaced; fields and values that make no sense count for nothing."""
    cache, _ = pair
    cache.get_or_load("price:1", lambda: 1, policy=PRICE)
    space = KeySpace(cache.settings.namespace)
    cache.runtime.stats.tick()
    with redis.Redis.from_url(redis_url) as client:
        (minute,) = client.keys(space.place(BUCKET, "stats:") + "[0-9]*")
        for field, value in (("[1]", "7"), ("[", "1"), ('["read","a","b"]', "1"), ("x", "y")):
            client.hset(minute, field, value)
        client.hset(minute, '["read","price","l1","hit"]', "9" * 5000)
        client.hset(minute, '["load","price","99999999999999999999"]', "1")
        client.hset(minute, '["read","price","l1","stale"]', "-7")
        client.hset(space.place(BUCKET, "stats:members"), "nobody", "{}")
        client.zadd(space.place(BUCKET, "stats:seen"), {"nobody": 2**52, "somebody": 1})
        assert (told(cache).misses, told(cache).stale) == (1, 0)
        for name in client.keys(space.place(BUCKET, "stats:*")):
            client.set(name, "a text", px=600_000)
    cache.get_or_load("price:1", lambda: 1, policy=PRICE)
    assert sum(told(cache).hits.values()) == 1


def test_a_child_tells_nothing_of_its_parents(pair: tuple[TieredCache, TieredCache]) -> None:
    """What the parent counted before it forked is counted once, and the child is a process of its own."""
    cache, other = pair
    cache.get_or_load("price:1", lambda: 1, policy=PRICE)
    if (child := os.fork()) == 0:
        try:
            cache.start()
            cache.get_or_load("price:1", lambda: 1, policy=PRICE)
            cache.runtime.stats.tick()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    cache.runtime.stats.tick()
    price = told(other)
    assert (price.misses, sum(price.hits.values()), price.loads.count) == (1, 1, 1)
    assert {member.pid for member in report_of(other).processes} == {os.getpid(), child}


def test_a_process_that_ends_tells_the_rest_and_is_gone(
    pair: tuple[TieredCache, TieredCache], make_cache: Callable[..., TieredCache], redis_url: str
) -> None:
    """At once; what it counted stays."""
    leaving = connected(make_cache(redis_url))
    leaving.get_or_load("price:1", lambda: 1, policy=PRICE)
    leaving.close()
    report = report_of(pair[0])
    assert report.caches["price"].misses == 1
    until(lambda: len(report_of(pair[0]).processes) == 2, "two are left")


def test_without_redis_this_process_is_told_of_and_later_all_is(
    make_cache: Callable[..., TieredCache], own_redis_server: Any
) -> None:
    """It says that others are missing; what was counted meanwhile is told when Redis is back."""
    cache = connected(make_cache(own_redis_server.url))
    cache.get_or_load("price:1", lambda: 1, policy=PRICE)
    told(cache)
    own_redis_server.kill()
    until(lambda: not report_of(cache).complete, "it says so")
    cache.get_or_load("price:2", lambda: 1, policy=PRICE)
    report = report_of(cache)
    assert "Redis does not answer" in str(report.incomplete_because)
    assert (report.caches["price"].misses, len(report.processes)) == (2, 1)
    own_redis_server.start()
    until(lambda: report_of(cache).complete, "Redis is back")
    until(lambda: report_of(cache).caches.get("price") is not None, "all is told")
    assert report_of(cache).caches["price"].misses == 1  # the first went with the old server


def test_monitoring_off_tells_nobody(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """And what this process counted is known still."""
    cache = connected(make_cache(redis_url, monitoring=False))
    cache.get_or_load("price:1", lambda: 1, policy=PRICE)
    cache.runtime.stats.tick()
    report = report_of(cache)
    assert (report.complete, report.caches["price"].misses) == (False, 1)
    with redis.Redis.from_url(redis_url) as client:
        assert [name for name in client.keys("*stats*") if not name.endswith(b":stats:keys")] == []


def test_a_cache_that_is_not_shared_has_stats(make_cache: Callable[..., TieredCache]) -> None:
    """Of itself."""
    cache = make_cache("memory://")
    for _ in range(3):
        cache.get_or_load("price:1", lambda: 1, policy=PRICE)
    report = report_of(cache)
    assert (report.caches["price"].misses, report.caches["price"].hits["l1"]) == (1, 2)


def test_who_only_asks_is_no_process_of_the_cache(
    pair: tuple[TieredCache, TieredCache], make_cache: Callable[..., TieredCache], redis_url: str
) -> None:
    """A command that was not started reads, and is not counted itself."""
    pair[0].get_or_load("price:1", lambda: 1, policy=PRICE)
    for cache in pair:
        cache.runtime.stats.tick()
    asking = make_cache(redis_url)
    for _ in range(2):
        report = report_of(asking)
        assert (report.caches["price"].misses, len(report.processes)) == (1, 2)


def test_keys_are_counted_by_cache(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """Those of this namespace; whose nobody has loaded is unknown. What was counted serves for a while."""
    cache = connected(make_cache(redis_url))
    make_cache(redis_url, namespace="another").set("price:1", 1, ttl=600)
    for number in range(400):
        cache.get_or_load(f"price:{number}", lambda: 1, policy=PRICE)
    cache.get_or_load("book:1", lambda: "x" * 1000, policy=BOOK)
    cache.set("mine:1", 1, ttl=600)
    del cache.runtime.counts.families["mine"]
    cache.runtime.stats.tick()
    report = report_of(cache)
    counted = {name: each.keys for name, each in report.caches.items() if each.keys}
    assert counted == {"price": 400, "book": 1, "unknown": 1}
    assert (report.total.keys, report.keys_share) == (402, 1.0)
    with redis.Redis.from_url(redis_url) as client:
        places = client.keys(f"{cache.settings.namespace}:*:v:*")
        assert report.total.bytes == sum(map(client.strlen, places))
    assert report.caches["book"].bytes is not None
    assert report.caches["book"].bytes > 1000
    cache.set("mine:2", 1, ttl=600)
    assert report_of(cache).total.keys == 402
    assert count_keys(cache.gateway, cache.runtime.keyspace).keys == 403


def test_of_very_many_keys_some_are_counted_and_the_rest_estimated(
    make_cache: Callable[..., TieredCache], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hands out its keys in no order, so a part of them tells of all."""
    cache = connected(make_cache(redis_url))
    for first in range(0, 4000, 500):
        names = [f"price:{number}" for number in range(first, first + 500)]
        cache.get_or_load_many(names, lambda keys: dict.fromkeys(keys, 1), policy=PRICE)
    monkeypatch.setattr(keys, "MOST_KEYS", 1000)
    counted = count_keys(cache.gateway, cache.runtime.keyspace)
    assert 0.1 < counted.share < 1
    assert counted.keys == pytest.approx(4000, rel=0.25)


def test_a_key_that_a_walk_meets_twice_counts_once(
    make_cache: Callable[..., TieredCache], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SCAN hands it out while the server grows."""
    cache = make_cache(redis_url)
    page = Sizes({"price:1": 7}, 1.0)
    monkeypatch.setattr(keys.Walk, "sizes", lambda walk: iter([page, page]))
    counted = count_keys(cache.gateway, cache.runtime.keyspace)
    assert (counted.keys, counted.bytes) == (1, 7)


def test_no_command_of_a_count_holds_the_server_up(
    make_cache: Callable[..., TieredCache], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each steps over few keys: there is no KEYS, no unbounded answer, and no command of two slots."""
    cache = connected(make_cache(redis_url))
    cache.get_or_load("price:1", lambda: 1, policy=PRICE)
    sent: list[Any] = []
    run = cache.gateway.run

    def listening(commands: Any, operation: str = "other") -> Any:
        sent.extend(commands)
        return run(commands, operation)

    monkeypatch.setattr(cache.gateway, "run", listening)
    report_of(cache)
    words = {str(command[0]) for command in sent}
    assert words <= BOUNDED
    assert {command[command.index("COUNT") + 1] for command in sent if "COUNT" in command} <= {300, 1000}


def test_what_redis_says_of_itself_is_told(make_cache: Callable[..., TieredCache], start_redis: Any) -> None:
    """Memory against its bound, policy, clients, role; and what that means."""
    server = start_redis("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--maxclients", "200")
    cache = connected(make_cache(server.url))
    facts = report_of(cache).redis
    assert facts is not None
    with redis.Redis.from_url(server.url) as client:
        said = client.info()
        assert facts.version in (said.get("valkey_version"), said["redis_version"])
        client.config_set("maxmemory", said["used_memory"] + 1)
        full = report_of(cache)
        assert "memory_full" in [each.rule for each in full.alerts]
        client.config_set("maxmemory", 0)
        assert "memory_unbounded" in [each.rule for each in report_of(cache).recommendations]
    assert (facts.role, facts.policy, facts.max_clients) == ("master", "allkeys-lru", 200)
    assert facts.max_memory_bytes == 64 * 2**20
    assert 0 < facts.memory_share < 0.9
    assert facts.clients >= 2
    assert 0 < facts.latency_seconds < 1


def test_a_redis_that_is_full_is_told_of_and_takes_the_rest_later(
    make_cache: Callable[..., TieredCache], start_redis: Any
) -> None:
    """What it refused is told when there is room again, once."""
    server = start_redis("--maxmemory", "64mb", "--maxmemory-policy", "noeviction")
    cache = connected(make_cache(server.url))
    with redis.Redis.from_url(server.url) as client:
        cache.runtime.stats.tick()
        client.config_set("maxmemory", 1)
        for number in range(3):
            cache.get_or_load(f"price:{number}", lambda: 1, policy=PRICE)
            full = report_of(cache)
        assert "takes nothing more" in str(full.incomplete_because)
        assert "memory_full" in {each.rule for each in full.alerts}
        assert "memory_refuses" in {each.rule for each in full.recommendations}
        client.config_set("maxmemory", 64 * 2**20)
    assert told(cache).misses == 3
    assert told(cache).misses == 3


def test_a_replica_is_told_of(make_cache: Callable[..., TieredCache], start_redis: Any) -> None:
    """Nothing can be stored there."""
    master, server = start_redis(), start_redis()
    cache = connected(make_cache(server.url))
    with redis.Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", master.port)
        until(lambda: client.info("replication")["master_link_status"] == "up", "it follows")
    report = report_of(cache)
    assert report.redis.role == "slave"
    assert "redis_is_replica" in [each.rule for each in report.alerts]
    assert not report.complete


def test_an_open_circuit_is_an_alert(make_cache: Callable[..., TieredCache], own_redis_server: Any) -> None:
    """And gone when Redis is back."""
    cache = connected(make_cache(own_redis_server.url))
    own_redis_server.kill()
    until(lambda: "circuit_open" in [each.rule for each in report_of(cache).alerts], "it is open")
    assert "redis_away" in [each.rule for each in report_of(cache).alerts]
    own_redis_server.start()
    until(lambda: report_of(cache).alerts == (), "all is well")


def test_what_was_hot_is_known_when_those_who_read_it_are_gone(
    make_cache: Callable[..., TieredCache], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute that is over, and the one in which a process ends, count for whoever comes within the hour."""
    cache, other = (connected(make_cache(redis_url)) for _ in range(2))
    stats = cache.runtime.stats
    now = stats._minute()
    for ago, tag, reads in ((7, "pair:A", 30), (6, "pair:B", 20), (6, "pair:A", 3)):
        monkeypatch.setattr(stats, "_minute", lambda ago=ago: now - ago)
        stats.tick()
        for _ in range(reads):
            cache.get_or_load(tag, lambda: 1, policy=PRICE, tags=(tag,))
        stats.tick()  # as each second
    assert "pair:B" not in hottest(other)
    cache.close()
    assert hottest(other) == {"pair:A": 33, "pair:B": 20}
    assert list(hottest(other)) == ["pair:A", "pair:B"]
    assert hottest(make_cache()) == {}
