"""Rows of L1: one process, its own memory, fencing and counting on."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers import Peers
from benchmarks.racing import Crowd, Statement, race
from benchmarks.rows import MICRO, Row, in_words, micros, named
from benchmarks.samples import TTL, flat, order_book
from benchmarks.stage import Stage, hearing
from cache_ext import CacheExt

HIT_LIMIT = 2e-6
HIT_AIM = 1e-6
CALLS = {
    "get_or_load": "cache.get_or_load('near', loader, ttl=ttl, tags=tags)",
    "get": "cache.get('near')",
    "fetch": "cache.fetch('near', loader, ttl=ttl, tags=tags)",
}


def hits(stage: Stage) -> Iterator[Row]:
    """A hit of 30 flat fields, and of a nested order book."""
    asked = f"≤ {in_words(HIT_LIMIT)} (aim {in_words(HIT_AIM)})"
    stage.app.config.update(CACHE_EXT_REDIS_URL=stage.url, CACHE_EXT_NAMESPACE="memo")
    ext = CacheExt(stage.app)
    stage.on_exit(ext.cache.close)
    hearing(ext.cache)
    for what, value, limit in (("30 flat fields", flat(), HIT_LIMIT), ("order book", order_book(), None)):
        cache = stage.cache(f"near-{what.replace(' ', '-')}", default_ttl=TTL)
        names = {"cache": cache, "loader": lambda value=value: value, "ttl": TTL, "tags": ("pair:SOL-USDC",)}
        exec(CALLS["get_or_load"], dict(names))
        mine = [Statement(call, code, "a copy of one's own", **names) for call, code in CALLS.items()]
        peers = list(Peers(stage).near_hits(value))
        mine.append(_memoized(ext, value, what))
        times = race([*mine, *peers], stage.sizes.pace)
        beside = named(times, [peer.name for peer in peers])
        for call in mine:
            bound = limit if call.name == "get_or_load" else None
            got = times.median(call.name)
            yield Row(
                f"L1 hit, {what}: {call.name}",
                asked if bound else "",
                in_words(got),
                beside if call is mine[0] else "",
                got <= bound if bound else None,
                micros(times) if call is mine[0] else {f"{call.name}, µs": round(got * MICRO, 3)},
            )


def _memoized(ext: CacheExt, value: object, what: str) -> Statement:
    """Return a call of a memoized function, in an application's context, as in a view."""

    @ext.memoize(ttl=TTL, name=f"quote {what}", tags=("pair:{pair}",))
    def quote(pair: str) -> object:
        return value

    quote("SOL-USDC")
    return Statement("memoize", "quote('SOL-USDC')", "its key made of the arguments", quote=quote)


def crowd(stage: Stage) -> Iterator[Row]:
    """Several threads that want one hot key at once."""
    count = stage.sizes.threads
    cache = stage.cache("crowd")
    names = {"cache": cache, "loader": flat, "ttl": TTL, "tags": ("pair:SOL-USDC",)}
    exec(CALLS["get_or_load"], dict(names))
    mine = Statement("get_or_load", CALLS["get_or_load"], **names)
    alone = Statement("one thread", CALLS["get_or_load"], **names)
    peers = list(Peers(stage).crowds(flat(), count))
    times = race([Crowd(count, mine), alone, *peers], stage.sizes.pace)
    ratio = times.ratio(mine.name, lambda turn: turn[alone.name])
    yield Row(
        f"L1 hit, {count} threads on one key",
        "",
        f"{in_words(times.median(mine.name))} a hit of any thread, {ratio:.2f} x one thread",
        named(times, [peer.name for peer in peers]),
        figures=micros(times) | {"x one thread": round(ratio, 3)},
    )
