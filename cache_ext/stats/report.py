"""The shape of what is told about a cache: per cache and in all, for people, programs and dashboards."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from cache_ext.explain.invalidations import Told
from cache_ext.stats.members import Member
from cache_ext.stats.redis_facts import RedisFacts


class Quantiles(Struct, frozen=True):
    """How long things took, of so many: seconds, null if there were none; within a tenth.

    Args:
        count: of the last hour.
        p50, p95, p99: what that share of them (in percent) did not exceed.
    """

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class CacheStats(Struct, frozen=True):
    """What was counted in the last hour of one cache, or of all.

    Args:
        reads: of any outcome.
        hits: those that were answered at once, by the layer that answered.
        misses: reads that found nothing fresh and waited for the origin.
        stale: reads that were served a value past its ttl, marked.
        errors: reads for which there was nothing but an error.
        hit_rate: share of the reads that were hits, by minutes looked back on; null without reads.
        loads: calls of the origin, and how long they took.
        load_seconds_saved: that the origin would have worked for the hits.
        evictions: entries that had to make room in L1 of some process.
        early_refreshes: loads that began in the background before a value was past its ttl.
        coalesced_waits: loads that were not made since somebody was at it already.
        keys, bytes: that lie in Redis; null if they were not counted.
    """

    reads: int
    hits: dict[str, int]
    misses: int
    stale: int
    errors: int
    hit_rate: dict[str, float | None]
    loads: Quantiles
    load_seconds_saved: float
    evictions: int
    early_refreshes: int
    coalesced_waits: int
    keys: int | None = None
    bytes: int | None = None


class Minute(Struct, frozen=True):
    """What was counted of all caches in one minute, to be drawn; the names are those of `CacheStats`.

    Args:
        at: when it began, Unix seconds.
        load_seconds: that the origin worked.
        redis_reads: how long reads of Redis took.
    """

    at: float
    reads: int
    hits: dict[str, int]
    misses: int
    stale: int
    errors: int
    loads: Quantiles
    load_seconds: float
    load_seconds_saved: float
    redis_reads: Quantiles


class Backplane(Struct, frozen=True):
    """How far L1 may lag behind an invalidation.

    Args:
        bound_seconds: at most, in processes whose backplane is live.
        live, deaf: processes whose backplane is, and is not though it should: these ask Redis at every read.
    """

    bound_seconds: float
    live: int
    deaf: int


class Level(StrEnum):
    """ALERT: something is broken now, or about to be; ADVICE: it could be better."""

    ALERT = "alert"
    ADVICE = "advice"


class Finding(Struct, frozen=True):
    """What a rule found; see `recommendations`.

    Args:
        rule: its name.
        level: how urgent it is.
        cause: what is the matter, with the figures that say so.
        setting: what to change, by the name under which it is set; null if it is no setting.
        change: how, or what else to do.
    """

    rule: str
    level: Level
    cause: str
    setting: str | None
    change: str


class Often(Struct, frozen=True):
    """What is read often, and about how many times it was in this minute and the one before."""

    name: str
    reads: int


class Report(Struct, frozen=True):
    """What is known of a cache.

    Args:
        at: when that was, Unix seconds.
        complete: whether it is of all processes; if not, *incomplete_because* says why not.
        shared: whether there is a Redis at all.
        processes: those that run the cache now.
        total: of all caches; a response that was made of a price counts in both.
        caches: by name, that of their policy.
        operations: round trips to Redis, by operation.
        redis: what it says of itself; null if it does not answer.
        keys_share: share of Redis' keys that were looked at to count keys; null if none were.
        circuit: how many processes are in each state of the breaker.
        pool: pooled connections of all processes, and how many there may be.
        top_keys, top_tags: what is read most, as sampled; nothing of caches that are sensitive.
        alerts: what is broken now, or about to be.
        recommendations: what could be better.
        minutes: the last hour, oldest first; the last is the minute under way.
        recent_invalidations: newest first, as far as the process that was asked has heard of them.
    """

    at: float
    complete: bool
    incomplete_because: str | None
    shared: bool
    processes: tuple[Member, ...]
    total: CacheStats
    caches: dict[str, CacheStats]
    operations: dict[str, Quantiles]
    redis: RedisFacts | None
    keys_share: float | None
    circuit: dict[str, int]
    pool: dict[str, int]
    backplane: Backplane
    top_keys: tuple[Often, ...]
    top_tags: tuple[Often, ...]
    alerts: tuple[Finding, ...] = ()
    recommendations: tuple[Finding, ...] = ()
    minutes: tuple[Minute, ...] = ()
    recent_invalidations: tuple[Told, ...] = ()
