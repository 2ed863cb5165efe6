"""What L1 keeps: hit ratios of several ways to choose, on seeded courses of requests, and what they cost.

Run from the repository; a minute or less::

    .venv/bin/python -m benchmarks.eviction [--keys 4000] [--length 30000]

Every keeper has the same bytes, a share of what all values take; ours pays its own books from them, the
others are given theirs. theine counts entries, so it gets as many as fit by the mean size. What is not
installed (theine, cachebox) is left out. A cell has the hits per request, in per cent, and where sizes are
mixed the hits per byte behind it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.keepers import Gds, Item, Lru, Near, S3Fifo, Sieve
from benchmarks.traces import Mix, Request, Trace
from cache_ext.reading.slot import SLOT_OVERHEAD_BYTES

SKEWS = (0.7, 0.9, 1.0, 1.2)
SHARES = (0.01, 0.05, 0.1, 0.25)
COURSES = {
    "plain": Mix(),
    "scans": Mix(scan_every=500),
    "shifting": Mix(shifts=5),
    "expiring": Mix(expiring=True, rate=200.0),
    "invalidated": Mix(invalidate_every=50),
    "mixed sizes": Mix(mixed=True),
    "mixed, shifting": Mix(mixed=True, shifts=5),
    "mixed, scans, expiring, invalidated": Mix(500, 0, True, True, 50, 200.0),
}
WARM = 0.2
"""Share of the requests that come before any is counted."""
MICRO = 1e6


class Library:
    """A cache of another library."""

    def __init__(self, cache: Any, put: Callable[[str, Item], object], drop: Callable[[str], object]) -> None:
        self._get, self._put, self._drop = cache.get, put, drop

    def ask(self, request: Request) -> bool:
        """As `Near.ask`."""
        item = self._get(request.key)
        item = item[0] if isinstance(item, tuple) else item
        if item is not None and request.at < item.ends:
            return True
        self._put(request.key, Item(request))
        return False

    def forget(self, key: str) -> None:
        """As `Near.forget`."""
        self._drop(key)


def theine(max_bytes: int, mean: float) -> Library:
    """Return theine's W-TinyLFU, which counts entries."""
    cache = importlib.import_module("theine").Cache(max(2, int(max_bytes / mean)))
    return Library(cache, cache.set, cache.delete)


def cachebox(kind: str) -> Callable[[int, float], Library]:
    """Return what makes cachebox's cache of *kind*, bounded in bytes."""

    def make(max_bytes: int, mean: float) -> Library:
        bounded = getattr(importlib.import_module("cachebox"), kind)
        cache = bounded(max_bytes, getsizeof=lambda key, item: item.size)

        def put(key: str, item: Item) -> None:
            if item.size <= max_bytes:
                cache[key] = item

        return Library(cache, put, lambda key: cache.pop(key, None))

    return make


KEEPERS: dict[str, Callable[[int, float], Any]] = {
    "ours": Near,
    "LRU": Lru,
    "SIEVE": Sieve,
    "S3-FIFO": S3Fifo,
    "GDS": Gds,
    "theine": theine,
    "cachebox LFU": cachebox("LFUCache"),
}


def present() -> dict[str, Callable[[int, float], Any]]:
    """Return the keepers whose library is here."""
    names = {"theine": "theine", "cachebox LFU": "cachebox"}
    return {
        name: make
        for name, make in KEEPERS.items()
        if name not in names or importlib.util.find_spec(names[name])
    }


def ratios(make: Callable[[int, float], Any], trace: Trace, share: float) -> tuple[float, float]:
    """Return hits per request and per byte of *trace*, in *share* of the bytes that all values take."""
    sizes = [size + SLOT_OVERHEAD_BYTES for size in trace.sizes]
    keeper = make(int(share * sum(sizes)), sum(sizes) / len(sizes))
    asked = hits = asked_bytes = hit_bytes = 0
    for number, request in enumerate(trace.requests):
        if request.size == 0:
            keeper.forget(request.key)
            continue
        hit = keeper.ask(request)
        if number >= WARM * len(trace.requests):
            asked, hits = asked + 1, hits + hit
            asked_bytes, hit_bytes = asked_bytes + request.size, hit_bytes + hit * request.size
    return hits / asked, hit_bytes / asked_bytes


def row(name: str, cells: Iterable[str]) -> str:
    """Return a line of a table."""
    return f"| {name:<36}|" + "|".join(f"{cell:>13} " for cell in cells) + "|"


def table(title: str, rows: Iterable[tuple[str, Trace, float]]) -> Iterator[str]:
    """Return a table of all keepers."""
    keepers = present()
    yield ""
    yield row(title, keepers)
    yield row("---", ["---"] * len(keepers))
    for name, trace, share in rows:
        mixed = len(set(trace.sizes)) > 1
        found = [ratios(make, trace, share) for make in keepers.values()]
        yield row(name, [f"{100 * n:.1f}" + (f" / {100 * b:.1f}" if mixed else "") for n, b in found])


def costs(length: int) -> Iterator[str]:
    """Return a table of what a hit, and a miss with its put, take."""
    keepers = present()
    times = []
    for make in keepers.values():
        keeper = make(4_000_000, 1_700.0)
        hot = [Request(0.0, f"key:{number % 100}", 1_000, 1e6) for number in range(length)]
        cold = [Request(0.0, f"other:{number}", 1_000, 1e6) for number in range(length)]
        for request in hot[:100]:
            keeper.ask(request)
        times.append([_each(keeper.ask, requests) for requests in (hot, cold)])
    yield ""
    yield row("microseconds, the bench's own work too", keepers)
    yield row("---", ["---"] * len(keepers))
    for name, index in (("hit", 0), ("miss and put", 1)):
        yield row(name, [f"{each[index]:.2f}" for each in times])


def _each(ask: Callable[[Request], bool], requests: list[Request]) -> float:
    began = time.perf_counter()
    for request in requests:
        ask(request)
    return (time.perf_counter() - began) / len(requests) * MICRO


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=4_000)
    parser.add_argument("--length", type=int, default=30_000)
    options = parser.parse_args()
    size = (options.keys, options.length)
    courses = [(name, Trace(0.9, *size, mix), 0.1) for name, mix in COURSES.items()]
    for line in table("Zipf 0.9, 10 % of the bytes", courses):
        print(line, flush=True)
    mixes = {skew: Trace(skew, *size, Mix(scan_every=500, mixed=True)) for skew in SKEWS}
    grid = [(f"Zipf {skew}, {share:.0%}", mixes[skew], share) for skew in SKEWS for share in SHARES]
    for line in table("mixed sizes, scans", grid):
        print(line, flush=True)
    for line in costs(options.length):
        print(line, flush=True)


if __name__ == "__main__":
    main()
