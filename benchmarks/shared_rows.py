"""Rows of L2: what costs a round trip to Redis, beside redis-py's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec

from benchmarks.peers import Peers
from benchmarks.racing import Contestant, Statement, Times, race
from benchmarks.rows import Row, in_words, micros, named
from benchmarks.samples import TTL, flat
from benchmarks.stage import Stage

HIT_LIMIT = 1.3
BATCH_LIMIT = 1.5
MINE = "L1 off"
KEPT = "kept in L1, which is empty"
KEY, TAG = "price:{pair:SOL-USDC}", "pair:SOL-USDC"


def hit(stage: Stage) -> Iterator[Row]:
    """One key that lies in Redis only."""
    value, encoded = flat(), msgspec.msgpack.encode(flat())
    stage.client.set("plain", encoded)
    names = {"loader": flat, "ttl": TTL, "tags": (TAG,), "key": KEY}
    code = "cache.get_or_load(key, loader, ttl=ttl, tags=tags)"
    off, on = stage.cache("hit", l1_max_bytes=0), stage.cache("hit")
    off.set(KEY, value, ttl=TTL, tags=(TAG,))
    decode = msgspec.msgpack.Decoder().decode
    bare = Statement("redis-py GET", "client.get('plain')", "the bytes", client=stage.client)
    mine: list[Contestant] = [
        Statement(MINE, code, cache=off, **names),
        Statement(KEPT, f"drop(key); {code}", cache=on, drop=on.runtime.near.drop, **names),
    ]
    decoded = Statement(
        "redis-py GET and msgspec", "decode(client.get('plain'))", client=stage.client, decode=decode
    )
    peers = list(Peers(stage).shared_hits(value))
    times = race([*mine, bare, decoded, *peers], stage.sizes.pace)
    yield from _against(times, "L2 hit", HIT_LIMIT, (bare, decoded), peers)


def batch(stage: Stage) -> Iterator[Row]:
    """Many keys at once, each with a tag of its own."""
    value, encoded, count = flat(), msgspec.msgpack.encode(flat()), stage.sizes.batch
    pairs = [f"pair:C{number:03d}-USDC" for number in range(count)]
    keys = [f"price:{{{pair}}}" for pair in pairs]
    plain = [f"plain:{key}" for key in keys]
    stage.client.mset(dict.fromkeys(plain, encoded))
    tags = {key: (pair,) for key, pair in zip(keys, pairs, strict=True)}
    names = {"keys": keys, "loader": dict.fromkeys, "ttl": TTL, "tags_for": tags.__getitem__}
    code = "cache.get_or_load_many(keys, loader, ttl=ttl, tags_for=tags_for)"
    off, on = stage.cache("batch", l1_max_bytes=0), stage.cache("batch")
    off.get_or_load_many(keys, lambda names: dict.fromkeys(names, value), ttl=TTL, tags_for=tags.__getitem__)
    decode = msgspec.msgpack.Decoder().decode
    bare = Statement("redis-py MGET", "client.mget(plain)", "the bytes", client=stage.client, plain=plain)
    mine: list[Contestant] = [
        Statement(MINE, code, cache=off, **names),
        Statement(KEPT, f"clear(); {code}", cache=on, clear=on.runtime.near.clear, **names),
    ]
    decoded = Statement(
        "redis-py MGET and msgspec",
        "[decode(found) for found in client.mget(plain)]",
        client=stage.client,
        plain=plain,
        decode=decode,
    )
    peers = list(Peers(stage).batches(keys, value))
    times = race([*mine, bare, decoded, *peers], stage.sizes.pace)
    yield from _against(times, f"{count} keys from L2", BATCH_LIMIT, (bare, decoded), peers)


def _against(
    times: Times, what: str, limit: float, floor: tuple[Contestant, Contestant], peers: list[Contestant]
) -> Iterator[Row]:
    """Compare with the bare command and the decoding of what it answers, in each round.

    The second comparison, "strictly", has the limit count for the command only and not for the decoding.

    Args:
        floor: the bare command; it and the decoding.
    """
    bare, decoded = (each.name for each in floor)
    asked = f"≤ {limit} x {decoded} = {in_words(limit * times.median(decoded))}"
    for name in (MINE, KEPT):
        share = times.ratio(name, lambda turn: limit * turn[decoded])
        strictly = times.ratio(name, lambda turn: (limit - 1) * turn[bare] + turn[decoded])
        times_bare = times.ratio(name, lambda turn: turn[bare])
        yield Row(
            f"{what}, {name}",
            asked,
            f"{in_words(times.median(name))} = {share:.2f} x what is asked, {strictly:.2f} x strictly",
            named(times, [bare, decoded, *(peer.name for peer in peers)]) if name == MINE else "",
            share <= 1,
            (micros(times) if name == MINE else {})
            | {"x what is asked": round(share, 3), "x strictly": round(strictly, 3)}
            | {f"x {bare}": round(times_bare, 3)},
        )


def writes(stage: Stage) -> Iterator[Row]:
    """`set`, and a miss with a loader that costs nothing."""
    value, numbers = flat(), itertools.count()
    cache = stage.cache("writes")
    names = {"cache": cache, "value": value, "ttl": TTL, "tags": (TAG,), "client": stage.client}
    encode = msgspec.msgpack.Encoder().encode
    yield _beside(
        "set",
        Statement("set", "cache.set('set', value, ttl=ttl, tags=tags)", **names),
        [
            Statement(
                "redis-py SET and msgspec",
                "client.set('set', encode(value), ex=600)",
                encode=encode,
                **names,
            ),
            *Peers(stage).sets(value),
        ],
        stage,
    )
    yield _beside(
        "miss, loader for nothing",
        Statement(
            "load",
            "cache.get_or_load(f'load:{next(numbers)}', lambda: value, ttl=ttl, tags=tags)",
            numbers=numbers,
            **names,
        ),
        list(Peers(stage).loads(value, numbers)),
        stage,
    )


def _beside(what: str, mine: Contestant, peers: list[Contestant], stage: Stage) -> Row:
    times = race([mine, *peers], stage.sizes.pace)
    got, beside = in_words(times.median(mine.name)), named(times, [peer.name for peer in peers])
    return Row(what, "", got, beside, figures=micros(times))
