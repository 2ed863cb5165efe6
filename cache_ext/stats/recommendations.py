"""What the figures mean and what to change: one table of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from cache_ext.stats.report import Finding, Level, Report

ENOUGH_READS = 1_000
"""In an hour; of fewer a rate says little."""
LOW_HIT_RATE = 0.7
MUCH_MEMORY = 0.9
MANY_CLIENTS = 0.9
BUSY_POOL = 0.9
FULL_L1 = 0.95
CHURN = 0.05
"""Evictions from L1 as a share of all reads, above which it is too small for what is read."""
EVICTION_RATE = 0.01
"""Keys a second that Redis drops, over its whole life; fewer are a thing of the past."""
MUCH_STALE = 0.05
MANY_ERRORS = 0.01
SLOW_TRIP = 0.010
"""Seconds."""
MANY_WAITS = 3.0
"""Waits for others' loads, for each load."""


ALERT, ADVICE = Level.ALERT, Level.ADVICE
OF_REDIS = "redis:"


class Rule(Struct, frozen=True):
    """One row of the table.

    Args:
        name: of the rule, for programs.
        level: how urgent it is.
        look: returns what is the matter, None if nothing is.
        setting: which to change: a field of `CacheSettings`, one of Redis with `OF_REDIS` before it, or none.
        change: how, and to what.
    """

    name: str
    level: Level
    look: Callable[[Report], str | None]
    setting: str | None
    change: str


def _circuit(report: Report) -> str | None:
    down = len(report.processes) - report.circuit["closed"]
    return f"{down} processes do not ask Redis: it failed too often" if down else None


def _unreachable(report: Report) -> str | None:
    return None if report.redis is not None or not report.shared else "Redis does not answer"


def _replica(report: Report) -> str | None:
    away = report.redis is not None and report.redis.role != "master"
    return "Redis is a replica: nothing can be stored or invalidated there" if away else None


def _memory(report: Report) -> str | None:
    if report.redis is None or (report.redis.memory_share or 0.0) < MUCH_MEMORY:
        return None
    return f"Redis uses {report.redis.memory_share:.0%} of the memory that it may"


def _unbounded(report: Report) -> str | None:
    none = report.redis is not None and report.redis.max_memory_bytes is None
    return "Redis may take all memory of its machine: there is no bound" if none else None


def _full_stop(report: Report) -> str | None:
    redis = report.redis
    if redis is None or redis.max_memory_bytes is None or redis.policy != "noeviction":
        return None
    return "once its memory is full, Redis refuses to store anything, invalidations too"


def _redis_evictions(report: Report) -> str | None:
    redis = report.redis
    if redis is None or redis.evicted_keys < max(1.0, EVICTION_RATE * redis.uptime_seconds):
        return None
    return f"Redis has dropped {redis.evicted_keys} keys for want of memory since it was started"


def _clients(report: Report) -> str | None:
    redis = report.redis
    if redis is None or redis.max_clients is None or redis.clients < MANY_CLIENTS * redis.max_clients:
        return None
    return f"{redis.clients} of {redis.max_clients} connections that Redis takes are open"


def _rejected(report: Report) -> str | None:
    if report.redis is None or not report.redis.rejected_connections:
        return None
    return f"Redis has refused {report.redis.rejected_connections} connections since it was started"


def _pool(report: Report) -> str | None:
    busy = [each for each in report.processes if each.pool_used >= BUSY_POOL * each.pool_max > 0]
    return f"{len(busy)} processes use nearly all connections of their pool" if busy else None


def _deaf(report: Report) -> str | None:
    if not report.backplane.deaf:
        return None
    return f"{report.backplane.deaf} processes hear of no invalidation, so they ask Redis at every read"


def _low_hit_rate(report: Report) -> str | None:
    worst = [
        f"{name} {each.hit_rate['60']:.0%}"
        for name, each in report.caches.items()
        if each.reads >= ENOUGH_READS and (each.hit_rate["60"] or 0.0) < LOW_HIT_RATE
    ]
    return f"few reads are hits: {', '.join(worst)}" if worst else None


def _small_l1(report: Report) -> str | None:
    full = [each for each in report.processes if each.l1_bytes >= FULL_L1 * each.l1_max_bytes > 0]
    if not full or report.total.evictions < max(CHURN * report.total.reads, 1):
        return None
    return f"L1 is full in {len(full)} processes, and {report.total.evictions} entries had to go in an hour"


def _stale(report: Report) -> str | None:
    total = report.total
    if total.reads < ENOUGH_READS or total.stale < MUCH_STALE * total.reads:
        return None
    return f"{total.stale / total.reads:.0%} of the reads were served a value past its ttl"


def _errors(report: Report) -> str | None:
    total = report.total
    if total.reads < ENOUGH_READS or total.errors < MANY_ERRORS * total.reads:
        return None
    return f"{total.errors / total.reads:.1%} of the reads got nothing but an error of the origin"


def _slow(report: Report) -> str | None:
    read = report.operations.get("read")
    if read is None or read.count < ENOUGH_READS or (read.p95 or 0.0) < SLOW_TRIP:
        return None
    return f"one read of Redis in twenty takes {1000 * (read.p95 or 0.0):.0f} ms or longer"


def _waits(report: Report) -> str | None:
    slow = [
        name
        for name, each in report.caches.items()
        if each.coalesced_waits >= max(ENOUGH_READS, MANY_WAITS * each.loads.count)
    ]
    return f"many wait for the loads of others: {', '.join(slow)}" if slow else None


RULES = (
    Rule("redis_away", ALERT, _unreachable, "redis_url", "see that Redis runs and can be reached from here"),
    Rule("circuit_open", ALERT, _circuit, "op_timeout", "look after Redis; if it is well but far, raise it"),
    Rule("redis_is_replica", ALERT, _replica, "redis_url", "name the master, or have sentinels find it"),
    Rule("backplane_deaf", ALERT, _deaf, "pubsub", "see that it is on, and that Redis lets them subscribe"),
    Rule("memory_full", ALERT, _memory, "redis:maxmemory", "raise it, or shorten ttls"),
    Rule("clients_full", ALERT, _clients, "redis:maxclients", "raise it, or have smaller pools"),
    Rule("origin_errors", ALERT, _errors, None, "look after the origin"),
    Rule("much_stale", ALERT, _stale, None, "look after the origin: it fails, or is slow"),
    Rule("connections_refused", ADVICE, _rejected, "redis:maxclients", "raise it, or have smaller pools"),
    Rule("memory_unbounded", ADVICE, _unbounded, "redis:maxmemory", "set it, below what the machine has"),
    Rule("memory_refuses", ADVICE, _full_stop, "redis:maxmemory-policy", "volatile-lru"),
    Rule("redis_evicts", ADVICE, _redis_evictions, "redis:maxmemory", "raise it, or shorten ttls"),
    Rule("pool_busy", ADVICE, _pool, "pool_size", "raise it"),
    Rule("hit_rate_low", ADVICE, _low_hit_rate, "default_ttl", "longer ttls for these, or warm them"),
    Rule("l1_small", ADVICE, _small_l1, "l1_max_bytes", "raise it"),
    Rule("redis_slow", ADVICE, _slow, "l1_max_bytes", "bring Redis nearer; a larger L1 asks it less often"),
    Rule("many_waits", ADVICE, _waits, None, "stale_while_revalidate in the policies of these: nobody waits"),
)
"""All rules, the most urgent first."""


def findings(report: Report, setting_name: Callable[[str], str]) -> Iterator[Finding]:
    """Return what the rules find.

    Args:
        setting_name: returns what a field of `CacheSettings` is called where it is set.
    """
    for rule in RULES:
        cause = rule.look(report)
        if cause is not None:
            yield Finding(rule.name, rule.level, cause, _named(rule.setting, setting_name), rule.change)


def _named(setting: str | None, setting_name: Callable[[str], str]) -> str | None:
    if setting is None or setting.startswith(OF_REDIS):
        return setting and setting.removeprefix(OF_REDIS)
    return setting_name(setting)
