"""Rows of what the cache saves: the service with and without, an exchange taking a quarter of a second."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.course import Bots
from benchmarks.door_servers import Server
from benchmarks.many_pairs import TWINS
from benchmarks.market_site import market_site, origin_calls, port_of
from benchmarks.open_load import OpenLoad
from benchmarks.rows import Row, in_words, percentile
from benchmarks.served_rows import refused
from benchmarks.stage import Stage

LATENCY = 0.25
SPEED_LEAST, SPEED_WANTED = 10.0, 50.0
SAVED_LEAST, SAVED_WANTED = 0.90, 0.99
CPU_SAVED = 0.60
SHARE = 0.25
"""Of the longest load's time."""
WITHOUT_RATE = 0.2
"""Of the usual rate: at more, without the cache, waiting for a worker would be measured as well."""
PAIRS = 20
MIX = (("price", 50.0), ("orderbook", 15.0), ("candles", 10.0))
"""What comes from the exchange as it is, so that requests and its calls compare."""
MILLION = 1e6


@dataclass(frozen=True)
class Side:
    """What was measured, with the cache or without.

    Args:
        mean, p99: seconds of an answer.
        calls: of the exchange for each request.
        cpu: seconds of the workers' processor time for each request.
    """

    mean: float
    p99: float
    calls: float
    cpu: float
    refused: int


def behind_a_slow_exchange(stage: Stage) -> Iterator[Row]:
    """Answers, calls of the exchange and processor time, as many requests of the same course each way."""
    with_cache = _side(stage, 1.0, enabled="true")
    without = _side(stage, WITHOUT_RATE, enabled="false")
    faster = without.mean / with_cache.mean
    yield Row(
        f"4 mean answer, the exchange takes {LATENCY * 1000:.0f} ms a call",
        f"≥ {SPEED_LEAST:.0f} x faster (wanted {SPEED_WANTED:.0f})",
        f"{faster:.0f} x: {in_words(with_cache.mean)}, p99 {in_words(with_cache.p99)}",
        f"without the cache {in_words(without.mean)}, p99 {in_words(without.p99)}",
        faster >= SPEED_LEAST,
        {"x faster": round(faster, 1), "mean, µs": round(with_cache.mean * MILLION)},
        with_cache.refused + without.refused,
    )
    saved = 1 - with_cache.calls / without.calls
    yield Row(
        "4 calls of the exchange",
        f"≥ {SAVED_LEAST:.0%} fewer (wanted {SAVED_WANTED:.0%})",
        f"{saved:.1%} fewer: {with_cache.calls * 1000:.1f} for 1000 requests",
        f"without the cache {without.calls * 1000:.0f}",
        saved >= SAVED_LEAST,
        {"calls for 1000 requests": round(with_cache.calls * 1000, 2)},
    )
    cheaper = 1 - with_cache.cpu / without.cpu
    yield Row(
        "4 processor time of the workers for a million requests",
        f"≥ {CPU_SAVED:.0%} less",
        f"{cheaper:.0%} less: {with_cache.cpu * MILLION:.0f} s",
        f"without the cache {without.cpu * MILLION:.0f} s, what the simulated exchange computes included",
        cheaper >= CPU_SAVED,
        {"CPU for a million, s": round(with_cache.cpu * MILLION)},
    )


def _side(stage: Stage, share: float, *, enabled: str) -> Side:
    stage.client.flushall()
    bots = Bots(tuple(TWINS)[:PAIRS], mix=MIX)
    settings = {"CACHE_ENABLED": enabled, "SIMULATED_LATENCY": str(LATENCY)}
    with market_site(stage.url, model=False, **settings) as service:
        port, rate, seconds = port_of(service), stage.sizes.rate * share, stage.sizes.seconds * SHARE
        server = Server(port, tuple(service.worker_pids()))
        calls, cpu = origin_calls(service), server.cpu()
        with OpenLoad(port, bots, rate, seconds, connections=200) as load:
            replies = load.replies()
        waits = [each.wait for each in replies if each.status == 200]
        used, asked = server.cpu() - cpu, origin_calls(service) - calls
        per_request = (asked / len(replies), used / len(replies))
        return Side(statistics.fmean(waits), percentile(waits, 0.99), *per_request, refused(replies))
