"""Asking: what is known of a cache in all its processes, or in this one if Redis is away."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from cache_ext.engine import TieredCache
from cache_ext.errors import StoreUnavailable
from cache_ext.settings import CONFIG_PREFIX
from cache_ext.stats.counts import HOT
from cache_ext.stats.gathering import PATIENCE, Gathered, gather, of_this_process
from cache_ext.stats.keys import KeyCounts, by_cache, key_counts
from cache_ext.stats.members import Member
from cache_ext.stats.minutes import HOUR
from cache_ext.stats.recommendations import findings
from cache_ext.stats.redis_facts import RedisFacts, redis_facts
from cache_ext.stats.report import Backplane, Level, Often, Report
from cache_ext.stats.sampling import TOP
from cache_ext.stats.summing import Sums
from cache_ext.transport.breaker import State
from cache_ext.transport.budget import budget

ALONE = "this process alone is known: "
REFUSED = "Redis takes nothing more, so what was counted lately is not told"


class _Known(NamedTuple):
    """All that a report is made of; `missing` says what it is not of."""

    gathered: Gathered
    redis: RedisFacts | None = None
    keys: KeyCounts | None = None
    missing: str | None = None


def config_key(field: str) -> str:
    """Return what a field of `CacheSettings` is called in Flask's configuration."""
    return CONFIG_PREFIX + field.upper()


def report_of(cache: TieredCache, setting_name: Callable[[str], str] = config_key) -> Report:
    """Return what is known of *cache*. Never raises StoreUnavailable: then it is of this process alone.

    Args:
        setting_name: returns what a field of `CacheSettings` is called where it is set.
    """
    report = _report(_known(cache), shared=cache.gateway is not None)
    found = tuple(findings(report, setting_name))
    return replace(
        report,
        alerts=tuple(each for each in found if each.level is Level.ALERT),
        recommendations=tuple(each for each in found if each.level is Level.ADVICE),
        recent_invalidations=cache.runtime.memory.invalidations.recent(),
    )


def hottest(cache: TieredCache) -> dict[str, int]:
    """Return the tags that were read most in the last hour, most read first, and about how often.

    Processes that have ended count; the minute that is under way does not. Raises StoreUnavailable.
    """
    if cache.gateway is None:
        return {}
    hour = gather(cache.gateway, cache.runtime.keyspace).windows[HOUR]
    tags = {field[1:]: count for field, count in hour.items() if field[0] == HOT}
    return {tag: count for (tag,), count in Counter(tags).most_common()}


def _known(cache: TieredCache) -> _Known:
    gateway, own = cache.gateway, cache.runtime.stats
    alone = of_this_process(own, time.time())
    if gateway is None:
        return _Known(alone, missing=ALONE + "the cache is not shared")
    try:
        redis, keys = redis_facts(gateway), key_counts(gateway, cache.runtime.keyspace)
        if not own.tells:
            return _Known(alone, redis, keys, ALONE + "monitoring is off, so nobody tells")
        if own.heard:  # else it is one that only asks
            with budget(PATIENCE, administrative=True):
                own.tick()
        gathered = gather(gateway, cache.runtime.keyspace)
    except StoreUnavailable as error:
        return _Known(alone, missing=f"{ALONE}Redis does not answer ({error})")
    return _Known(gathered, redis, keys, REFUSED if own.refused else None)


def _report(known: _Known, *, shared: bool) -> Report:
    members = known.gathered.members
    keys = None if known.keys is None else by_cache(known.keys, members)
    sums = Sums(known.gathered.windows, keys)
    circuits = Counter(member.circuit for member in members)
    return Report(
        at=known.gathered.at,
        complete=known.missing is None,
        incomplete_because=known.missing,
        shared=shared,
        processes=members,
        total=sums.in_all(),
        caches=sums.caches(),
        operations=sums.operations(),
        redis=known.redis,
        keys_share=None if known.keys is None else known.keys.share,
        circuit={state: circuits[state] for state in State},
        pool=_pool(members),
        backplane=_backplane(members),
        top_keys=_often(member.top_keys for member in members),
        top_tags=_often(member.top_tags for member in members),
        minutes=sums.minutes(known.gathered.minutes, known.gathered.at),
    )


def _often(told: Iterable[Mapping[str, int]]) -> tuple[Often, ...]:
    reads: Counter[str] = Counter()
    for each in told:
        reads.update(each)
    return tuple(Often(name, count) for name, count in reads.most_common(TOP))


def _pool(members: tuple[Member, ...]) -> dict[str, int]:
    return {
        "idle": sum(member.pool_idle for member in members),
        "used": sum(member.pool_used for member in members),
        "max": sum(member.pool_max for member in members),
    }


def _backplane(members: tuple[Member, ...]) -> Backplane:
    return Backplane(
        bound_seconds=max((member.bound_seconds for member in members), default=0.0),
        live=sum(member.hears for member in members),
        deaf=sum(member.listens and not member.hears for member in members),
    )
