"""Rows of memory: what a key costs, what a worker has, what a million keys leave, how long a start takes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.market_site import market_site
from benchmarks.rows import Row, in_words
from benchmarks.samples import FLAT_BYTES, TTL, flat
from benchmarks.stage import Stage
from cache_ext import CachePolicy, TieredCache
from tests.service import ROOT

MIB = 2**20
WORKER_MOST, START_MOST, GROWTH_MOST = 120 * MIB, 1.0, 0.05
NEAR_BYTES = 16 * MIB
"""Of L1 while many keys pass, so that it is full early."""
PORTION = 500
STARTS = 5
_VALUE = flat()
_MEASURE = """
import time
began = time.perf_counter()
from shivx import create_app
create_app()
print(time.perf_counter() - began)
"""


def keys(stage: Stage) -> Iterator[Row]:
    """What an entry of 30 fields takes in this process and in Redis, and what very many leave behind."""
    stage.client.flushall()
    cache = stage.cache("weighed")
    before = resident()
    names = [f"weighed:{number}" for number in range(stage.sizes.kept)]
    for first in range(0, len(names), PORTION):
        _load(cache, names[first : first + PORTION])
    kept, counted = cache.runtime.near.sizes()
    near = max(1.0, (resident() - before) / kept)
    stored = [stage.client.memory_usage(cache.runtime.keyspace.value(name)) or 0 for name in names[:PORTION]]
    far = statistics.fmean(stored)
    yield Row(
        f"8 bytes a key, of {FLAT_BYTES} bytes of value",
        "",
        f"L1 {near:.0f} (counted as {counted / kept:.0f}), L2 {far:.0f}",
        "",
        None,
        {"L1, bytes": round(near), "L2, bytes": round(far)},
    )
    cache.clear()


def passing(stage: Stage) -> Iterator[Row]:
    """What this process takes after a tenth of very many keys, and after all of them."""
    stage.client.flushall()
    stage.client.config_set("maxmemory", str(64 * MIB))
    stage.client.config_set("maxmemory-policy", "allkeys-lru")
    cache, count, sizes = stage.cache("passing", l1_max_bytes=NEAR_BYTES), stage.sizes.many, []
    for first in range(0, count, PORTION):
        _load(cache, [f"passing:{number}" for number in range(first, min(first + PORTION, count))])
        if first % max(PORTION, count // 10 // PORTION * PORTION) == 0:
            sizes.append(resident())
    sizes.append(resident())
    early = sizes[min(2, len(sizes) - 2)]
    growth = sizes[-1] / early - 1
    stage.client.config_set("maxmemory", "0")
    stage.client.flushall()
    yield Row(
        f"8 growth while {count:,} distinct keys pass",
        f"flat: ≤ {GROWTH_MOST:.0%} from a fifth of them on",
        f"{growth:+.1%}: {early / MIB:.0f} and {sizes[-1] / MIB:.0f} MiB",
        "",
        growth <= GROWTH_MOST,
        {"size then, MiB": round(early / MIB, 1), "size at the end, MiB": round(sizes[-1] / MIB, 1)},
    )


def worker(stage: Stage) -> Iterator[Row]:
    """A worker at rest that has served nothing, and how long making the application takes."""
    with market_site(stage.url, model=False) as service:
        each = [resident(pid) for pid in service.worker_pids()]
    with tempfile.TemporaryDirectory() as folder:
        took = [_started(stage.url, folder) for _ in range(STARTS)]
    most, start = max(each), statistics.median(took)
    yield Row(
        "8 a worker at rest, L1 empty; create_app in a new process, imports included",
        f"< {WORKER_MOST // MIB} MiB; < {in_words(START_MOST)}",
        f"{most / MIB:.0f} MiB; {in_words(start)}",
        "",
        most < WORKER_MOST and start < START_MOST,
        {"worker, MiB": round(most / MIB, 1), "start, s": round(start, 3)},
    )


def resident(pid: int | str = "self") -> int:
    """Return the bytes of memory that a process has."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def _load(cache: TieredCache, names: Sequence[str]) -> None:
    def loader(missing: Sequence[str]) -> Mapping[str, object]:
        return dict.fromkeys(missing, _VALUE)

    cache.get_or_load_many(names, loader, policy=CachePolicy(ttl=TTL))


def _started(redis_url: str, folder: str) -> float:
    command = [sys.executable, "-c", _MEASURE]
    own = {"SHIVX_INSTANCE_DIR": folder, "SHIVX_REDIS_URL": redis_url, "SHIVX_SECRET_KEYS": "measure" * 8}
    env = {name: value for name, value in os.environ.items() if not name.startswith("SHIVX_")} | own
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])
