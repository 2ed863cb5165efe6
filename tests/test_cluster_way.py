"""A cache on a real cluster: slots move, nodes hang and die, replicas take over: nothing outdated comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from cache_ext import MISS, CachePolicy, TieredCache
from cache_ext.errors import StoreUnavailable
from cache_ext.keys import BUCKETS, bucket_of
from tests.caches import connected
from tests.certificates import Certificates
from tests.cluster import Cluster
from tests.servers import RunningServer
from tests.waiting import until

MANY = [f"key:{number}" for number in range(200)]
PLAIN = CachePolicy(ttl=600, early_refresh=False)
Open = Callable[..., TieredCache]
Start = Callable[..., Cluster]


@pytest.fixture(params=["valkey"])
def server_kind(request: pytest.FixtureRequest) -> str:
    """Debian's Redis, where no test says otherwise, is tried with the rig alone."""
    return str(request.param)


def place_of(cache: TieredCache, key: str) -> str:
    """Return where the entry of *key* lies."""
    return cache.runtime.keyspace.value(key)


def key_on(cache: TieredCache, cluster: Cluster, node: RunningServer) -> str:
    """Return a key that lies on *node*."""
    return next(key for key in MANY if cluster.primary_of(place_of(cache, key)) is node)


def answers(cache: TieredCache) -> bool:
    """Tell whether Redis answers *cache*."""
    try:
        cache.gateway.run([("GET", place) for place in map(cache.runtime.keyspace.epoch, range(BUCKETS))])
    except StoreUnavailable:
        return False
    return True


def stored(cache: TieredCache, *keys: str, value: str = "old") -> None:
    """Have *keys* in Redis, each under a tag of its name."""
    cache.get_or_load_many(
        keys, lambda missing: dict.fromkeys(missing, value), policy=PLAIN, tags_for=lambda key: [f"t:{key}"]
    )


def test_all_of_it_on_every_node(make_cache: Open, shared_cluster: Cluster) -> None:
    """What one process stores another reads; what one invalidates is gone for the other, in every bucket."""
    one, two = connected(make_cache(shared_cluster.url)), connected(make_cache(shared_cluster.url))
    stored(one, *MANY)
    assert {bucket_of(key) for key in MANY} == set(range(BUCKETS))
    assert two.get_or_load_many(MANY, dict.fromkeys, policy=PLAIN) == dict.fromkeys(MANY, "old")
    for key in MANY:
        one.invalidate_tags(f"t:{key}")
    until(lambda: all(two.get(key) is MISS for key in MANY), "all is invalid", 2.0)
    stored(one, *MANY, value="new")
    one.clear()
    assert all(one.get(key) is MISS for key in MANY)


def test_one_trip_a_node(make_cache: Open, shared_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch over all buckets is asked of all nodes before any has answered, and of each once."""
    cache = connected(make_cache(shared_cluster.url))
    stored(cache, *MANY)
    cache.runtime.near.clear()
    steps = []
    for server in cache.gateway.way.servers().values():
        for step in ("send", "receive"):
            whole = getattr(server, step)

            def noted(*args: Any, step: str = step, whole: Any = whole) -> Any:
                if threading.current_thread() is threading.main_thread():
                    steps.append(step)
                return whole(*args)

            monkeypatch.setattr(server, step, noted)
    cache.get_or_load_many(MANY, dict.fromkeys, policy=PLAIN)
    assert steps == ["send"] * 3 + ["receive"] * 3


@pytest.mark.parametrize("server_kind", ["valkey", "redis"])
def test_a_slot_that_moves(make_cache: Open, start_cluster: Start) -> None:
    """While it moves and after, nobody reads what was invalidated, and both hear what the other does."""
    cluster = start_cluster()
    one, two = connected(make_cache(cluster.url)), connected(make_cache(cluster.url))
    key = MANY[0]
    place = place_of(one, key)
    stored(one, key)
    assert two.get(key) == "old"
    target = next(node for node in cluster.primaries if node is not cluster.primary_of(place))
    cluster.begin_move(place, target)
    one.invalidate_tags(f"t:{key}")
    cluster.carry(place, target)
    assert one.get_or_load(key, lambda: "during", policy=PLAIN, tags=[f"t:{key}"]) == "during"
    cluster.end_move(place, target)
    until(lambda: answers(one) and answers(two), "it answers")
    connected(one), connected(two)
    assert two.get(key) is MISS
    stored(one, key, value="new")
    assert two.get(key) == "new"
    assert one.invalidate_tags(f"t:{key}").applied
    until(lambda: two.get(key) is MISS, "the other hears", 2.0)
    assert one.gateway.breaker.state == "closed"


def test_a_key_that_is_asked_for_on_its_way(make_cache: Open, start_cluster: Start) -> None:
    """What has moved ahead is asked for where it is, and a script that tells others is refused there."""
    cluster = start_cluster()
    cache = connected(make_cache(cluster.url))
    key = MANY[0]
    place = place_of(cache, key)
    stored(cache, key)
    source = cluster.primary_of(place)
    target = next(node for node in cluster.primaries if node is not source)
    cluster.begin_move(place, target)
    cluster.carry(place, target)
    assert cache.gateway.run([("STRLEN", place)])[0] > 0
    with pytest.raises(StoreUnavailable):
        cache.gateway.run(
            [("EVALSHA", cache.gateway.script("release"), 1, cache.runtime.keyspace.lease(key), "c", "t", "")]
        )
    assert cache.gateway.breaker._failures == 0, "nobody is to blame"
    assert cache.get_or_load(key, lambda: "loaded", policy=PLAIN) in ("old", "loaded")
    cluster.end_move(place, target)


@pytest.mark.parametrize("end", ["kill", "pause"])
def test_a_replica_takes_over(make_cache: Open, start_cluster: Start, end: str) -> None:
    """Its primary is killed, or hangs and wakes as an old one: served anew, nothing outdated comes back."""
    cluster = start_cluster()
    one, two = connected(make_cache(cluster.url)), connected(make_cache(cluster.url))
    stored(one, *MANY)
    assert two.get_or_load_many(MANY, dict.fromkeys, policy=PLAIN) == dict.fromkeys(MANY, "old")
    old = cluster.primaries[0]
    lost = key_on(one, cluster, old)
    getattr(old, end)()
    assert one.get_or_load("else", lambda: "loaded") == "loaded"
    began = time.monotonic()
    one.invalidate_tags(f"t:{lost}")
    until(lambda: two.get(lost) is MISS, "no copy is trusted", 3.0)
    assert time.monotonic() - began < 3.0
    cluster.until_taken_over(place_of(one, lost), old)
    until(lambda: answers(one) and answers(two), "served again")
    connected(one), connected(two)
    assert one.get(lost) is two.get(lost) is MISS
    assert one.invalidate_tags(f"t:{lost}").applied
    stored(one, lost, value="new")
    assert two.get(lost) == "new"
    if end == "pause":
        old.resume()
        cluster.until_healthy()
        assert two.get(lost) == "new"
    two.invalidate_tags(f"t:{lost}")
    until(lambda: one.get(lost) is MISS, "the other hears", 2.0)


def test_no_call_takes_longer_than_its_budget(make_cache: Open, start_cluster: Start) -> None:
    """A node that hangs costs each call its budget at most, and none once the circuit is open."""
    cluster = start_cluster("--cluster-replica-no-failover", "yes", node_timeout_ms=15_000)
    cache = connected(make_cache(cluster.url, op_timeout=0.3))
    stored(cache, *MANY)
    node = cluster.primaries[1]
    key = key_on(cache, cluster, node)
    cache.runtime.near.clear()
    node.pause()
    for _ in range(10):
        began = time.monotonic()
        assert cache.get_or_load(key, lambda: "loaded") == "loaded"
        assert time.monotonic() - began < 3.0
    assert cache.gateway.breaker.state != "closed"
    node.resume()
    until(lambda: cache.gateway.breaker.state == "closed", "it serves again")


@pytest.mark.parametrize("server_kind", ["redis"])
def test_tls(make_cache: Open, start_cluster: Start, certificates: Certificates) -> None:
    """All nodes are reached by TLS, also those that others name, and believed for their certificates."""
    cluster = start_cluster(tls=certificates, password="secret")
    trusted = f"{cluster.url}?ssl_ca_certs={quote(str(certificates.authority), safe='')}"
    one, two = connected(make_cache(trusted)), connected(make_cache(trusted))
    stored(one, *MANY)
    assert two.get_or_load_many(MANY, dict.fromkeys, policy=PLAIN) == dict.fromkeys(MANY, "old")
    one.invalidate_tags(f"t:{MANY[0]}")
    until(lambda: two.get(MANY[0]) is MISS, "the other hears", 2.0)
    assert make_cache(cluster.url, op_timeout=0.5).get_or_load("k", lambda: "origin") == "origin"


def test_a_cluster_that_is_down_from_the_beginning(make_cache: Open, start_cluster: Start) -> None:
    """Answers come from the origin, and from Redis as soon as it is there."""
    cluster = start_cluster()
    for node in cluster.nodes:
        node.pause()
    cache = make_cache(cluster.url, op_timeout=0.2)
    assert cache.get_or_load("k", lambda: "loaded") == "loaded"
    for node in cluster.nodes:
        node.resume()
    connected(cache)
    assert cache.invalidate_tags("t").applied
