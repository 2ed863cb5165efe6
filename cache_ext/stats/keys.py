"""How many keys lie in Redis, and whose they are: counted by a bounded walk, at most once in a while."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec
from msgspec import Struct

from cache_ext import metrics
from cache_ext.errors import StoreUnavailable
from cache_ext.keys import KeySpace
from cache_ext.stats.counts import UNKNOWN, family_of
from cache_ext.stats.gathering import PATIENCE, ask, members_of
from cache_ext.stats.members import Member
from cache_ext.stats.own import BUCKET
from cache_ext.stores.walking import Walk
from cache_ext.transport.connection import RedisGateway

LONGEST = 1.0
"""Seconds that a walk takes; the rest is estimated from what was seen until then."""
MOST_KEYS = 50_000
"""Keys that a walk looks at."""
KEPT_SECONDS = 15
"""A count serves everybody for so long."""


class KeyCounts(Struct, frozen=True):
    """What lies in Redis. What was invalidated counts until its time is over, or a read comes upon it.

    Args:
        keys, bytes: entries, and what their values take.
        share: of the keys of the server that were looked at; below 1, the rest is estimated.
        families: keys and bytes by the beginning that keys have in common.
    """

    keys: int
    bytes: int
    share: float
    families: dict[str, tuple[int, int]]


_decoder = msgspec.json.Decoder(KeyCounts)


def key_counts(gateway: RedisGateway, space: KeySpace) -> KeyCounts:
    """Return what lies in Redis, as somebody counted it a moment ago. Raises StoreUnavailable."""
    place = space.place(BUCKET, "stats:keys")
    (known,) = ask(gateway, [("MGET", place)])
    try:
        return _decoder.decode(known[0])
    except (msgspec.DecodeError, TypeError, IndexError):  # nothing, or nothing that makes sense
        found = count_keys(gateway, space)
    with suppress(StoreUnavailable):  # it is full perhaps
        ask(gateway, [("SET", place, msgspec.json.encode(found), "EX", KEPT_SECONDS)])
    return found


def count_keys(
    gateway: RedisGateway, space: KeySpace, monotonic: Callable[[], float] = time.monotonic
) -> KeyCounts:
    """Count what lies in Redis, page by page: no other client notices. Raises StoreUnavailable."""
    keys: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    seen: set[str] = set()
    share, end = 1.0, monotonic() + LONGEST
    for page in Walk(gateway, space, PATIENCE, 0).sizes():
        for key, size in page.sizes.items():
            if key not in seen:
                keys[family_of(key)] += 1
                sizes[family_of(key)] += size
        seen.update(page.sizes)
        share = page.share
        if share < 1 and (len(seen) >= MOST_KEYS or monotonic() >= end):
            break
    families = {name: (round(keys[name] / share), round(sizes[name] / share)) for name in keys}
    return KeyCounts(
        sum(count for count, _ in families.values()),
        sum(size for _, size in families.values()),
        round(share, 4),
        families,
    )


def by_cache(counted: KeyCounts, members: Iterable[Member]) -> dict[str, tuple[int, int]]:
    """Return keys and bytes of each cache, as far as one of *members* knows whose they are."""
    caches = {family: cache for member in members for family, cache in member.families.items()}
    found: dict[str, tuple[int, int]] = {}
    for family, (keys, size) in counted.families.items():
        cache = caches.get(family, UNKNOWN)
        known = found.get(cache, (0, 0))
        found[cache] = known[0] + keys, known[1] + size
    return found


def measure_keys(gateway: RedisGateway | None, space: KeySpace) -> int | None:
    """Set the gauge of the keys of each cache, for those who are about to read it.

    Returns:
        The bytes that all of them take, None if Redis is away.
    """
    if gateway is None:
        return None
    with suppress(StoreUnavailable):
        _, members = members_of(gateway, space)
        counted = key_counts(gateway, space)
        found = by_cache(counted, members)
        names = {cache for member in members for cache in member.families.values()}
        for name in {*names, *found, UNKNOWN}:
            metrics.keys.labels(name).set(found.get(name, (0, 0))[0])
        return counted.bytes
    return None
