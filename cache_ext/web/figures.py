"""``flask cache stats``: what all processes that run the cache counted, as lines or JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
import msgspec
from flask import current_app

from cache_ext.engine import TieredCache
from cache_ext.stats.redis_facts import RedisFacts
from cache_ext.stats.report import CacheStats, Quantiles, Report
from cache_ext.stats.reporting import report_of
from cache_ext.web.state import cache_of, setting_name_of

SCREEN = "\x1b[2J\x1b[H"
"""Clears a terminal."""
SHOWN = 10
"""Keys that are shown."""
_HEADS = (
    *("cache", "l1", "l2", "miss", "stale", "error", "1 min", "5 min", "60 min"),
    *("loads", "p95", "saved", "keys", "bytes", "evicted", "early", "waits"),
)


@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.option("--watch", is_flag=True, help="Go on, every --every seconds, until Ctrl-C.")
@click.option("--every", type=click.FloatRange(min=0.1), default=2.0, help="Seconds, with --watch.")
def stats(as_json: bool, watch: bool, every: float) -> None:
    """Say what all workers of all instances counted in the last hour.

    Exits with 0 if that is known, 1 if it is not: Redis does not answer, or nobody tells.
    """
    cache = cache_of(current_app)
    try:
        _show(cache, as_json, "")
        while watch:
            time.sleep(every)
            _show(cache, as_json, "" if as_json else SCREEN)
    except KeyboardInterrupt:
        pass  # that is how one ends watching
    finally:
        cache.close()


def _show(cache: TieredCache, as_json: bool, before: str) -> None:
    """Print what is known now. Raises ClickException if nothing is."""
    report = report_of(cache, setting_name_of(current_app))
    if not report.complete:  # of this process alone, which only asks, there is nothing to tell
        raise click.ClickException(f"nothing is known of the service: {report.incomplete_because}")
    text = msgspec.json.encode(report).decode() if as_json else "\n".join(render(report))
    click.echo(before + text)


def render(report: Report) -> Iterator[str]:
    """Return *report* as lines."""
    states = ", ".join(f"{count} {state}" for state, count in report.circuit.items() if count)
    yield f"processes {len(report.processes)}, circuit: {states or 'unknown'}"
    if report.redis is not None:
        yield _redis(report.redis)
    yield (
        f"pool {report.pool['used']} used, {report.pool['idle']} idle, {report.pool['max']} at most; "
        f"L1 lags at most {report.backplane.bound_seconds:g} s in {report.backplane.live} processes, "
        f"{report.backplane.deaf} ask Redis at every read"
    )
    rows = [_row(name, each) for name, each in [*report.caches.items(), ("all", report.total)]]
    yield from _table([_HEADS, *rows])
    operations = [(name, str(each.count), *_marks(each)) for name, each in report.operations.items()]
    yield from _table([("operation", "count", "p50", "p95", "p99"), *operations])

    yield from _table(
        [("most read", "reads"), *((each.name, str(each.reads)) for each in report.top_keys[:SHOWN])]
    )
    for found in (*report.alerts, *report.recommendations):
        yield ""
        yield f"{found.level} {found.rule}: {found.cause}"
        yield f"  {found.setting or 'no setting'}: {found.change}"


def _redis(redis: RedisFacts) -> str:
    share = "without a bound" if redis.memory_share is None else f"{redis.memory_share:.0%} of what it may"
    return (
        f"Redis {redis.version} ({redis.role}): {_size(redis.memory_bytes)}, {share}, {redis.policy}; "
        f"{redis.clients} clients, {redis.evicted_keys} evicted, {_time(redis.latency_seconds)} away"
    )


def _row(name: str, stats: CacheStats) -> tuple[str, ...]:
    return (
        name,
        *(str(stats.hits[layer]) for layer in ("l1", "l2")),
        *map(str, (stats.misses, stats.stale, stats.errors)),
        *("-" if rate is None else f"{rate:.1%}" for rate in stats.hit_rate.values()),
        str(stats.loads.count),
        _marks(stats.loads)[1],
        _time(stats.load_seconds_saved),
        "-" if stats.keys is None else str(stats.keys),
        "-" if stats.bytes is None else _size(stats.bytes),
        *map(str, (stats.evictions, stats.early_refreshes, stats.coalesced_waits)),
    )


def _marks(found: Quantiles) -> tuple[str, ...]:
    return tuple("-" if mark is None else _time(mark) for mark in (found.p50, found.p95, found.p99))


def _time(seconds: float) -> str:
    """Return *seconds* in the unit in which people say it."""
    units: tuple[tuple[float, str], ...] = ((3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"))
    size, unit = next((each for each in units if seconds >= each[0]), (1e-6, "µs"))
    return f"{seconds / size:.3g} {unit}"


def _size(size: int) -> str:
    """Return *size*, bytes, in the unit in which people say it."""
    units = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
    unit, name = next((each for each in units if size >= each[0]), (1, "B"))
    return f"{size / unit:.3g} {name}"


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Return *rows*, of which the first has the heads, as lines; the first column to the left."""
    yield ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        yield "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])])
