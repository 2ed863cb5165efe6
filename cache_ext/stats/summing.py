"""From counts to what is told of each cache and of all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from cache_ext.stats.counts import COALESCED, EVENTS, EVICTED, LOADS, READS, REFRESHED, TRIPS
from cache_ext.stats.durations import quantile, total
from cache_ext.stats.gathering import WINDOWS, Window
from cache_ext.stats.minutes import HOUR, MINUTE
from cache_ext.stats.report import CacheStats, Minute, Quantiles

K = TypeVar("K")
_LAYERS = ("l1", "l2")


class Tables:
    """The counts of a window, by what they are of."""

    def __init__(self, window: Window) -> None:
        self.reads: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        self.events: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.loads: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.trips: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for field, count in window.items():
            self._add(field, count)

    def _add(self, field: tuple[str, ...], count: int) -> None:
        """Sort *count* in; one of a kind that this program does not know counts nowhere."""
        match field:
            case (kind, cache, layer, outcome) if kind == READS:
                self.reads[cache][layer, outcome] += count
            case (kind, event, cache) if kind == EVENTS:
                self.events[cache][event] += count
            case (kind, cache, bucket) if kind == LOADS and bucket.isdecimal():
                self.loads[cache][int(bucket)] += count
            case (kind, operation, bucket) if kind == TRIPS and bucket.isdecimal():
                self.trips[operation][int(bucket)] += count

    @property
    def caches(self) -> list[str]:
        """The names of all caches of which anything was counted."""
        return sorted(self.reads.keys() | self.events.keys() | self.loads.keys())


class Sums:
    """What is told of caches.

    Args:
        windows: what was counted, by minutes looked back on.
        keys: keys and bytes in Redis by cache, None if they were not counted.
    """

    def __init__(self, windows: Mapping[int, Window], keys: Mapping[str, tuple[int, int]] | None) -> None:
        self._tables = {minutes: Tables(windows.get(minutes, {})) for minutes in WINDOWS}
        self._hour = self._tables[HOUR]
        self._keys = keys
        self._load_seconds = {
            name: total(loads) / sum(loads.values()) for name, loads in self._hour.loads.items() if loads
        }
        self._names = sorted({*self._hour.caches, *(keys or ())})

    def caches(self) -> dict[str, CacheStats]:
        """Return what is told of each cache."""
        return {name: self._told([name]) for name in self._names}

    def in_all(self) -> CacheStats:
        """Return what is told of all caches."""
        return self._told(self._names)

    def operations(self) -> dict[str, Quantiles]:
        """Return how long round trips took, by operation."""
        return {name: quantiles(counts) for name, counts in sorted(self._hour.trips.items())}

    def _told(self, names: list[str]) -> CacheStats:
        hour = self._hour
        reads = _sum(hour.reads[name] for name in names)
        events = _sum(hour.events[name] for name in names)
        loads = _sum(hour.loads[name] for name in names)
        rates = {
            str(minutes): _hit_rate(_sum(table.reads[name] for name in names))
            for minutes, table in self._tables.items()
        }
        lying = None if self._keys is None else [self._keys.get(name, (0, 0)) for name in names]
        return CacheStats(
            reads=sum(reads.values()),
            hits={layer: reads[layer, "hit"] for layer in _LAYERS},
            misses=_outcomes(reads, "miss"),
            stale=_outcomes(reads, "stale"),
            errors=_outcomes(reads, "error"),
            hit_rate=rates,
            loads=quantiles(loads),
            load_seconds_saved=self._saved(hour, names),
            evictions=events[EVICTED],
            early_refreshes=events[REFRESHED],
            coalesced_waits=events[COALESCED],
            keys=None if lying is None else sum(keys for keys, _ in lying),
            bytes=None if lying is None else sum(size for _, size in lying),
        )

    def minutes(self, windows: Sequence[Window], at: float) -> tuple[Minute, ...]:
        """Return what is told of each minute.

        Args:
            windows: what was counted in each, oldest first.
            at: a moment of the last of them, Unix seconds.
        """
        first = at // MINUTE - len(windows) + 1
        return tuple(
            self._minute(Tables(window), (first + number) * MINUTE) for number, window in enumerate(windows)
        )

    def _minute(self, tables: Tables, at: float) -> Minute:
        reads, loads = _sum(tables.reads.values()), _sum(tables.loads.values())
        return Minute(
            at=at,
            reads=sum(reads.values()),
            hits={layer: reads[layer, "hit"] for layer in _LAYERS},
            misses=_outcomes(reads, "miss"),
            stale=_outcomes(reads, "stale"),
            errors=_outcomes(reads, "error"),
            loads=quantiles(loads),
            load_seconds=round(total(loads), 3),
            load_seconds_saved=self._saved(tables, tables.caches),
            redis_reads=quantiles(tables.trips["read"]),
        )

    def _saved(self, tables: Tables, names: Iterable[str]) -> float:
        """Return how long the origin would have worked for the hits in *tables*, seconds.

        A load would have taken what one took in the last hour.
        """
        hits = {name: _outcomes(tables.reads[name], "hit") for name in names}
        return round(sum(count * self._load_seconds.get(name, 0.0) for name, count in hits.items()), 3)


def quantiles(counts: Counter[int]) -> Quantiles:
    """Return the quantiles of durations, given how many there are by bucket."""
    marks = (quantile(counts, share) for share in (0.5, 0.95, 0.99))
    return Quantiles(sum(counts.values()), *(None if mark is None else round(mark, 6) for mark in marks))


def _sum(counters: Iterable[Counter[K]]) -> Counter[K]:
    return sum(counters, Counter())


def _outcomes(reads: Counter[tuple[str, str]], outcome: str) -> int:
    return sum(count for (_, was), count in reads.items() if was == outcome)


def _hit_rate(reads: Counter[tuple[str, str]]) -> float | None:
    every = sum(reads.values())
    return round(_outcomes(reads, "hit") / every, 4) if every else None
