"""Rows of a cluster beside one server: hits, batches, how load spreads, and what a key and a request take."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator

import redis
from redis.cluster import ClusterNode, RedisCluster

from benchmarks.racing import Contestant, Statement, race
from benchmarks.rows import Row, in_words, micros
from benchmarks.samples import SEED, TTL, flat
from benchmarks.stage import OP_TIMEOUT, Stage, hearing
from cache_ext import TieredCache, open_cache
from cache_ext.keys import BUCKETS, KeySpace
from tests.cluster import Cluster
from tests.servers import RunningServer

HIT_LIMIT = 1.25
BATCH_LIMIT = 2.0
KEY, TAG = "price:{pair:SOL-USDC}", "pair:SOL-USDC"
ONE, MANY = "one server", "the cluster"
PAIRS = 500
REQUESTS = 50_000
LONG_MS = 60_000
"""Node timeout: nothing is to fail here."""


def rig(stage: Stage) -> Cluster:
    """Return a cluster of three primaries and three replicas, which ends with *stage*."""
    made = Cluster(node_timeout_ms=LONG_MS)
    stage.on_exit(made.close)
    return made


def opened(stage: Stage, url: str, namespace: str) -> TieredCache:
    """Open a cache without L1."""
    cache = open_cache(url, namespace=namespace, op_timeout=OP_TIMEOUT, l1_max_bytes=0)
    stage.on_exit(cache.close)
    return hearing(cache)


def beside(stage: Stage) -> Iterator[Row]:
    """A hit, a read that touches several nodes, and a batch over all of them."""
    cluster = rig(stage)
    alone = RunningServer("valkey")  # started as the nodes are, so that the system treats it alike
    stage.on_exit(alone.close)
    one, many = (opened(stage, url, "cluster") for url in (alone.url, cluster.url))
    client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", node.port) for node in cluster.nodes])
    stage.on_exit(client.close)
    yield from _hits(stage, one, many, client)
    for count in (2, 3):
        yield _nodes(stage, one, many, _pair_a_node(cluster, many.runtime.keyspace)[:count])
    yield _batch(stage, one, many, client)


def _names(cache: TieredCache, pairs: list[str]) -> dict[str, object]:
    tags = {f"price:{{{pair}}}": (pair,) for pair in pairs}
    cache.get_or_load_many(tags, lambda keys: dict.fromkeys(keys, flat()), ttl=TTL, tags_for=tags.__getitem__)
    return {
        "cache": cache,
        "keys": list(tags),
        "loader": dict.fromkeys,
        "ttl": TTL,
        "tags_for": tags.__getitem__,
    }


def _hits(stage: Stage, one: TieredCache, many: TieredCache, client: RedisCluster) -> Iterator[Row]:
    code = "cache.get_or_load(key, loader, ttl=ttl, tags=tags)"
    names = {"loader": flat, "ttl": TTL, "tags": (TAG,), "key": KEY}
    for cache in (one, many):
        cache.set(KEY, flat(), ttl=TTL, tags=(TAG,))
    client.set("plain", b"x" * 1000)
    peer = Statement("redis-py's RedisCluster GET", "client.get('plain')", client=client)
    mine = [Statement(ONE, code, cache=one, **names), Statement(MANY, code, cache=many, **names)]
    times = race([*mine, peer], stage.sizes.pace)
    share = times.ratio(MANY, lambda turn: turn[ONE])
    yield Row(
        "L2 hit on a cluster, key and tag in one slot",
        f"≤ {HIT_LIMIT} x one server's",
        f"{in_words(times.median(MANY))} = {share:.2f} x one server's {in_words(times.median(ONE))}",
        f"{peer.name} {in_words(times.median(peer.name))} (the bytes)",
        share <= HIT_LIMIT,
        micros(times) | {"x one server's": round(share, 3)},
    )


def _pair_a_node(cluster: Cluster, space: KeySpace) -> list[str]:
    found: dict[int, str] = {}
    for number in itertools.count():
        pair = f"pair:N{number}-USDC"
        found.setdefault(cluster.primary_of(space.value(f"price:{{{pair}}}")).port, pair)
        if len(found) == len(cluster.primaries):
            return list(found.values())
    raise AssertionError("unreachable")


def _nodes(stage: Stage, one: TieredCache, many: TieredCache, pairs: list[str]) -> Row:
    code = "cache.get_or_load_many(keys, loader, ttl=ttl, tags_for=tags_for)"
    lone = _names(one, pairs[:1])
    times = race(
        [Statement(ONE, code, **lone), Statement(MANY, code, **_names(many, pairs))], stage.sizes.pace
    )
    count, share = len(pairs), times.ratio(MANY, lambda turn: turn[ONE])
    return Row(
        f"a read of {count} keys on {count} nodes",
        f"≤ {count} x {HIT_LIMIT} of one key's on one server",
        f"{in_words(times.median(MANY))} = {share:.2f} x {in_words(times.median(ONE))}",
        "",
        share <= count * HIT_LIMIT,
        micros(times) | {"x one key's": round(share, 3)},
    )


def _batch(stage: Stage, one: TieredCache, many: TieredCache, client: RedisCluster) -> Row:
    pairs = [f"pair:C{number:03d}-USDC" for number in range(stage.sizes.batch)]
    code = "cache.get_or_load_many(keys, loader, ttl=ttl, tags_for=tags_for)"
    plain = [f"plain:{pair}" for pair in pairs]
    client.mset_nonatomic(dict.fromkeys(plain, b"x" * 1000))
    peer = Statement(
        "redis-py's RedisCluster mget_nonatomic",
        "client.mget_nonatomic(plain)",
        client=client,
        plain=plain,
    )
    mine: list[Contestant] = [
        Statement(ONE, code, **_names(one, pairs)),
        Statement(MANY, code, **_names(many, pairs)),
    ]
    times = race([*mine, peer], stage.sizes.pace)
    share = times.ratio(MANY, lambda turn: turn[ONE])
    return Row(
        f"{len(pairs)} keys over 3 nodes",
        f"≤ {BATCH_LIMIT} x one round trip",
        f"{in_words(times.median(MANY))} = {share:.2f} x one server's {in_words(times.median(ONE))}",
        f"{peer.name} {in_words(times.median(peer.name))} (the bytes)",
        share <= BATCH_LIMIT,
        micros(times) | {"x one server's": round(share, 3)},
    )


def spread(stage: Stage) -> Iterator[Row]:
    """How keys, bytes and requests of `PAIRS` pairs, asked for by Zipf(1), come to lie on three nodes."""
    cluster = rig(stage)
    cache = opened(stage, cluster.url, "spread")
    pairs = [f"pair:C{number:03d}-USDC" for number in range(PAIRS)]
    _names(cache, pairs)
    keys = [f"price:{{{pair}}}" for pair in pairs]
    weights = [1 / rank for rank in range(1, PAIRS + 1)]
    node = {key: cluster.primary_of(cache.runtime.keyspace.value(key)).port for key in keys}
    asked = Counter(node[key] for key in random.Random(SEED).choices(keys, weights, k=REQUESTS))
    stored = Counter(node.values())
    held = [_info(primary, "memory")["used_memory_dataset"] for primary in cluster.primaries]
    ports = [primary.port for primary in cluster.primaries]
    buckets = Counter(
        cluster.primary_of(cache.runtime.keyspace.epoch(bucket)).port for bucket in range(BUCKETS)
    )
    shares = {
        "buckets": [buckets[port] / BUCKETS for port in ports],
        "keys": [stored[port] / PAIRS for port in ports],
        "bytes": [each / sum(held) for each in held],
        "requests": [asked[port] / REQUESTS for port in ports],
    }
    yield Row(
        f"{PAIRS} pairs on 3 nodes, asked for by Zipf(1)",
        "",
        "; ".join(f"{what} {_percent(each)}" for what, each in shares.items()),
        "",
        None,
        {f"largest share, {what}": round(max(each), 3) for what, each in shares.items()},
    )


def _percent(shares: list[float]) -> str:
    return " : ".join(f"{100 * share:.0f} %" for share in shares)


def _info(server: RunningServer, section: str) -> dict[str, int]:
    with server.client() as client:
        told: dict[str, int] = client.info(section)
        return told


def weight(stage: Stage) -> Iterator[Row]:
    """What an entry takes in Redis and L1, and a request on the network."""
    cache = stage.cache("weight")
    pairs = [f"pair:C{number:03d}-USDC" for number in range(PAIRS)]
    before = stage.client.info("memory")["used_memory"]
    _names(cache, pairs)
    after = stage.client.info("memory")["used_memory"]
    blob = stage.client.strlen(cache.runtime.keyspace.value(f"price:{{{pairs[0]}}}"))
    held, taken = cache.runtime.near.sizes()
    redis_bytes = (after - before) / PAIRS
    yield Row(
        "an entry of 30 fields, 1000 bytes, with a tag of its own",
        "",
        f"{redis_bytes:.0f} bytes in Redis ({blob} of the value), {taken / held:.0f} in L1 as L1 counts",
        "",
        None,
        {"bytes in Redis": round(redis_bytes), "bytes in L1": round(taken / held), "value, bytes": blob},
    )
    yield from _network(stage)


def _network(stage: Stage) -> Iterator[Row]:
    off = stage.cache("weight", l1_max_bytes=0, monitoring=False)
    tags = {"ttl": TTL, "tags": (TAG,)}
    off.set(KEY, flat(), **tags)  # type: ignore[arg-type]
    acts = {
        "L2 hit": lambda: off.get_or_load(KEY, flat, **tags),  # type: ignore[arg-type]
        "set": lambda: off.set(KEY, flat(), **tags),  # type: ignore[arg-type]
        "invalidation": lambda: off.invalidate_tags(TAG),
    }
    for what, act in acts.items():
        act()
        sent, received = _moved(stage.client, act)
        yield Row(
            f"bytes on the network: {what}",
            "",
            f"{sent:.0f} to Redis, {received:.0f} from it",
            "",
            None,
            {"to Redis": round(sent), "from Redis": round(received)},
        )


def _moved(client: redis.Redis, act: object) -> tuple[float, float]:
    """Return the bytes that one call of *act* moves, on average; the server's other clients are quiet."""
    calls = 300

    def totals() -> tuple[int, int]:
        told = client.info("stats")
        return told["total_net_input_bytes"], told["total_net_output_bytes"]

    idle_in, idle_out = totals()
    first_in, first_out = totals()
    for _ in range(calls):
        act()  # type: ignore[operator]
    last_in, last_out = totals()
    asking_in, asking_out = first_in - idle_in, first_out - idle_out
    return (last_in - first_in - asking_in) / calls, (last_out - first_out - asking_out) / calls
