"""What is known of a cache as tables, drawn by Rich: once, or again and again on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cache_ext.stats.redis_facts import RedisFacts
from cache_ext.stats.report import CacheStats, Finding, Level, Quantiles, Report

SHOWN = 10
"""Keys that are shown."""
FILE_COLUMNS = 200
"""Where there is no terminal: programs read lines, which must not be broken."""
_READS = ("cache", "l1", "l2", "miss", "stale", "error", "1 min", "5 min", "60 min")
_LOADS = ("cache", "loads", "p95", "saved", "keys", "bytes", "evicted", "early", "waits")
_STYLES = {Level.ALERT: "bold red", Level.ADVICE: "yellow"}


def show(reports: Iterable[Report], watch: bool) -> None:
    """Draw *reports*, one after the other; on a terminal that *watch*es, each in place of the one before."""
    # No markup: names come from Redis, and may be anything.
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = FILE_COLUMNS
    if not (watch and console.is_terminal):
        for report in reports:
            console.print(render(report, console.is_terminal))
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for report in reports:
            live.update(render(report, True), refresh=True)


def render(report: Report, terminal: bool) -> RenderableType:
    """Return *report*, or why there is none, to be drawn; plain columns if it is for no *terminal*."""
    if not report.complete:
        return Text(f"nothing is known of the service: {report.incomplete_because}", "bold red")
    return Group(*_parts(report, terminal))


def _parts(report: Report, terminal: bool) -> Iterator[RenderableType]:
    """Yield what is urgent first: a terminal that is too small shows that."""
    yield from _heads(report)
    for found in report.alerts:
        yield from _finding(found)
    caches = [*report.caches.items(), ("all", report.total)]
    yield from _table(terminal, _READS, [_reads(name, each) for name, each in caches])
    yield from _table(terminal, _LOADS, [_loads(name, each) for name, each in caches])
    operations = [(name, str(each.count), *_marks(each)) for name, each in report.operations.items()]
    yield from _table(terminal, ("operation", "count", "p50", "p95", "p99"), operations)
    for found in report.recommendations:
        yield from _finding(found)
    hot = [(each.name, str(each.reads)) for each in report.top_keys[:SHOWN]]
    yield from _table(terminal, ("most read", "reads"), hot)


def _heads(report: Report) -> Iterator[RenderableType]:
    states = ", ".join(f"{count} {state}" for state, count in report.circuit.items() if count)
    yield Text(f"processes {len(report.processes)}, circuit: {states or 'unknown'}", "bold")
    if report.redis is not None:
        yield Text(_redis(report.redis))
    yield Text(
        f"pool {report.pool['used']} used, {report.pool['idle']} idle, {report.pool['max']} at most; "
        f"L1 lags at most {report.backplane.bound_seconds:g} s in {report.backplane.live} processes, "
        f"{report.backplane.deaf} ask Redis at every read"
    )


def _finding(found: Finding) -> Iterator[RenderableType]:
    yield ""
    yield Text(f"{found.level} {found.rule}: {found.cause}", _STYLES[found.level])
    yield Text(f"  {found.setting or 'no setting'}: {found.change}")


def _redis(redis: RedisFacts) -> str:
    share = "without a bound" if redis.memory_share is None else f"{redis.memory_share:.0%} of what it may"
    return _printable(
        f"Redis {redis.version} ({redis.role}): {_size(redis.memory_bytes)}, {share}, {redis.policy}; "
        f"{redis.clients} clients, {redis.evicted_keys} evicted, {_time(redis.latency_seconds)} away"
    )


def _reads(name: str, stats: CacheStats) -> tuple[str, ...]:
    return (
        name,
        *(str(stats.hits[layer]) for layer in ("l1", "l2")),
        *map(str, (stats.misses, stats.stale, stats.errors)),
        *("-" if rate is None else f"{rate:.1%}" for rate in stats.hit_rate.values()),
    )


def _loads(name: str, stats: CacheStats) -> tuple[str, ...]:
    return (
        name,
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


def _table(
    terminal: bool, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]
) -> Iterator[RenderableType]:
    """Yield a table: the first column to the left, and the only one that is broken if there is no room."""
    if not rows:
        return
    yield ""
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, head in enumerate(heads):
        if number:
            table.add_column(head, justify="right", no_wrap=True)
        else:
            table.add_column(head, overflow="fold")
    for name, *cells in rows:
        table.add_row(_printable(name), *cells)
    yield table


def _printable(text: str) -> str:
    """Return *text* without what would move a terminal's cursor, or worse."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
