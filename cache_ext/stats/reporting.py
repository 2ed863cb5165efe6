"""Asking: what is known of a cache in all its processes, or in this one if Redis is away."""

from __future__ import annotations

import time
from collections import Counter

from cache_ext.engine import TieredCache
from cache_ext.errors import StoreUnavailable
from cache_ext.stats.gathering import Gathered, gather, of_this_process
from cache_ext.stats.report import Backplane, Report
from cache_ext.stats.summing import Sums
from cache_ext.transport.breaker import State

NOBODY_TOLD = "this process alone is known: monitoring is off, or the cache is not shared"


def report_of(cache: TieredCache) -> Report:
    """Return what is known of *cache*. Never raises StoreUnavailable: then it is of this process alone."""
    gateway, own = cache.gateway, cache.runtime.stats
    missing = None if own.tells else NOBODY_TOLD
    known = None
    if gateway is not None and own.tells:
        try:
            if own.heard:  # else it is one that only asks
                own.tick()
            known = gather(gateway, cache.runtime.keyspace)
        except StoreUnavailable as error:
            missing = f"this process alone is known: Redis does not answer ({error})"
    return _report(known or of_this_process(own, time.time()), missing)


def _report(known: Gathered, missing: str | None) -> Report:
    sums, members = Sums(known.windows), known.members
    circuits = Counter(member.circuit for member in members)
    return Report(
        at=known.at,
        complete=missing is None,
        incomplete_because=missing,
        processes=members,
        total=sums.in_all(),
        caches=sums.caches(),
        operations=sums.operations(),
        circuit={state: circuits[state] for state in State},
        pool={
            "idle": sum(member.pool_idle for member in members),
            "used": sum(member.pool_used for member in members),
            "max": sum(member.pool_max for member in members),
        },
        backplane=Backplane(
            bound_seconds=max((member.bound_seconds for member in members), default=0.0),
            live=sum(member.hears for member in members),
            deaf=sum(not member.hears for member in members),
        ),
    )
