"""Rows of invalidation: what it costs, and how soon another process knows."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from benchmarks.peers import Peers, installed
from benchmarks.racing import Pace, Statement, race
from benchmarks.rows import Row, in_words, micros, percentile
from benchmarks.samples import TTL
from benchmarks.stage import Stage
from cache_ext import MISS, Fate, TieredCache

COST_LIMIT = 1.2
SEEN_LIMIT = 0.005
PEER_MANY = 1_000
"""Entries under one tag of the peer whose cost grows with them; a million would take minutes."""
PORTION = 20_000
HOT_TAG = "pair:SOL-USDC"
PATIENT, EAGER = "asking every 0.1 ms", "in a loop of pure Python"
"""How the other process asks its L1."""
FILL = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  redis.call('SET', KEYS[1] .. number, ARGV[3], 'PX', ARGV[4])
end
"""


def cost(stage: Stage) -> Iterator[Row]:
    """Invalidating a tag of few entries and one of very many."""
    cache, few, many = stage.cache("tags"), stage.sizes.few, stage.sizes.many
    for count in (few, many):
        _fill(stage, cache, count)
    code = "cache.invalidate_tags(tag)"
    contestants = [
        Statement(f"{count:,} entries", code, cache=cache, tag=f"tag:{count}") for count in (few, many)
    ]
    cache.invalidate_tags(f"tag:{few}", f"tag:{many}")
    for count in (few, many):
        if cache.get(_name(count, count)) is not MISS:
            raise RuntimeError("an entry has survived the invalidation of its tag")
    times = race(contestants, stage.sizes.pace)
    small, large = (each.name for each in contestants)
    ratio = times.ratio(large, lambda turn: turn[small])
    yield Row(
        f"invalidate a tag of {many:,} entries",
        f"≤ {COST_LIMIT} x one of {few}",
        f"{in_words(times.median(large))} = {ratio:.2f} x one of {few}",
        _peer_cost(stage),
        ratio <= COST_LIMIT,
        micros(times) | {"x one of few": round(ratio, 3)},
    )


def _name(count: int, number: int) -> str:
    return f"entry:{{tag:{count}}}:{number}"


def _fill(stage: Stage, cache: TieredCache, count: int) -> None:
    """Store *count* entries under one tag: one by the engine, the rest as copies made by the server."""
    cache.set(_name(count, 0), "a value", ttl=TTL, tags=(f"tag:{count}",))
    first = cache.runtime.keyspace.value(_name(count, 0))
    blob, copy = stage.client.get(first), stage.client.register_script(FILL)
    for start in range(1, count + 1, PORTION):
        end = min(start + PORTION - 1, count)
        copy(keys=[first.removesuffix("0")], args=[start, end, blob, int(TTL * 1000)])
    if cache.get(_name(count, count)) is MISS:
        raise RuntimeError("a copied entry does not count")


def _peer_cost(stage: Stage) -> str:
    if not installed("cashews"):
        return ""
    peers, few = Peers(stage), stage.sizes.few
    many = min(PEER_MANY, stage.sizes.many)
    small, large = peers.tagged(few), peers.tagged(many)
    times = race([small, large], Pace(min(5, stage.sizes.pace.rounds), 0.0))
    ratio = times.ratio(large.name, lambda turn: turn[small.name])
    return f"cashews {in_words(times.median(large.name))} for {many:,} entries = {ratio:.0f} x one of {few}"


def coherence(stage: Stage) -> Iterator[Row]:
    """From the end of `invalidate_tags` here until another process' L1 no longer serves."""
    cache = stage.cache("seen")

    def invalidate() -> float:
        cache.invalidate_tags(HOT_TAG)
        return time.monotonic()

    peers = "Flask-Caching, dogpile.cache, cachetools, cachebox: never"
    what = "seen in another process' L1"
    yield _row(f"{what}, {PATIENT}", stage, PATIENT, invalidate, SEEN_LIMIT, peers)
    yield _row(f"{what}, {EAGER}", stage, EAGER, invalidate)


def event(stage: Stage) -> Iterator[Row]:
    """From the beginning of `emit` here until another process' L1 no longer serves what the event changes."""
    cache = stage.cache("seen")
    cache.hooks.invalidate_by(lambda event: (HOT_TAG,), cache)

    def emit() -> float:
        began = time.monotonic()
        if cache.hooks.emit("trade_executed", {"pair": "SOL-USDC"}).fate is not Fate.ACCEPTED:
            raise RuntimeError("the event was not accepted")
        return began

    yield _row(f"event, gone from another process' L1, {PATIENT}", stage, PATIENT, emit, SEEN_LIMIT)


def _row(
    name: str, stage: Stage, mode: str, tell: Callable[[], float], limit: float | None = None, peers: str = ""
) -> Row:
    lags = list(_lags(stage, mode, tell))
    middle, last = statistics.median(lags), percentile(lags, 0.99)
    return Row(
        name,
        "" if limit is None else f"≤ {in_words(limit)} (p99)",
        f"p50 {in_words(middle)}, p99 {in_words(last)}",
        peers,
        None if limit is None else last <= limit,
        {"p50, µs": round(middle * 1e6, 1), "p99, µs": round(last * 1e6, 1), "times": len(lags)},
    )


def _lags(stage: Stage, mode: str, tell: Callable[[], float]) -> Iterator[float]:
    """Yield the seconds from the moment that *tell* returns until the other process' L1 serves no more."""
    listener = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.listener", stage.url, "seen", mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    with listener:
        heard, told = _pipes(listener)
        for _ in range(stage.sizes.tries):
            told.write("again\n")
            told.flush()
            if heard.readline().strip() != "ready":
                raise RuntimeError("the listener has ended")
            since = tell()
            yield max(1e-6, int(heard.readline()) / 1e9 - since)
        told.close()


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdout is None or process.stdin is None:
        raise AssertionError("started with pipes")
    return process.stdout, process.stdin
