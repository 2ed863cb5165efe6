"""Rows of what changes under load: Redis dies and comes back, and an event ends what two instances hold."""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.course import Bots, stranger
from benchmarks.door_servers import Servers
from benchmarks.felt import LASTING, key_of, lags
from benchmarks.many_pairs import LISTED
from benchmarks.market_site import WORKERS, market_site, port_of
from benchmarks.open_load import OpenLoad
from benchmarks.rows import Row, in_words, percentile
from benchmarks.served_rows import refused
from benchmarks.stage import Stage, wait_for
from tests.servers import RunningServer
from tests.service import GunicornService

PAIRS = 20
SHARE = 0.04
"""Of the longest load's time: before Redis is killed, while it is away, and after."""
MEAN_MOST, P99_MOST = 0.0024, 0.005
STREAK = 8
"""Answers in a row, each on a connection of its own, that say healthy: both workers did."""


def outage(stage: Stage) -> Iterator[Row]:
    """Redis is killed under load, and started again, empty."""
    server, seconds, pause = RunningServer("valkey"), stage.sizes.seconds * SHARE, threading.Event()
    bots = Bots(LISTED[:PAIRS])
    try:
        with market_site(server.url) as service:
            for number in range(len(bots.asked)):
                service.get(bots.path(number), stranger())
            with OpenLoad(port_of(service), bots, stage.sizes.rate, 10 * seconds + 60) as load:
                pause.wait(seconds)
                server.kill()
                began = time.monotonic()
                pause.wait(seconds)
                server.start()
                ended = time.monotonic()
                healthy = _healthy_since(service) - ended
                pause.wait(seconds)
                replies = load.end()
    finally:
        server.close()
    failed = sum(each.status not in (200, 429) for each in replies)
    during = [each.wait for each in replies if began <= each.due <= ended]
    last = percentile(during, 0.99)
    yield Row(
        f"5 Redis killed for {seconds:.0f} s at {stage.sizes.rate:.0f} requests a second",
        "0 errors",
        f"{failed} of {len(replies)}, p99 while it is away {in_words(last)}, healthy {healthy:.2f} s after",
        "",
        failed == 0,
        {"p99 without Redis, µs": round(last * 1e6, 1), "healthy after, s": round(max(healthy, 1e-3), 3)},
        refused(replies),
    )


def _healthy_since(service: GunicornService) -> float:
    """Return when all workers had begun to say that they are healthy."""
    found: list[float] = []

    def streak() -> bool:
        told = json.loads(service.get("/api/admin/cache/health", stranger()).body)["status"]
        found.append(time.monotonic())
        if told != "healthy":
            found.clear()
        return len(found) >= STREAK

    wait_for(streak, "the service is healthy again")
    return found[0]


def event(stage: Stage) -> Iterator[Row]:
    """An event is posted to one of two instances; all workers of both are asked for what it ends."""
    stage.client.flushall()
    with ExitStack() as stack:
        servers = stack.enter_context(Servers(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        database = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/shivx.db"
        settings = {"CACHE_MARKET_PRICE_TTL": LASTING, "DATABASE_URL": database}
        services = [servers.service(stage.url, workers=WORKERS, **settings)[0] for _ in range(2)]
        found = list(lags(services, key_of(services[0]), 0, stage.sizes.tries))
    for since, each, limit in (
        ("its answer", [answered for _, answered in found], P99_MOST),
        ("it was sent", [posted for posted, _ in found], None),
    ):
        mean, last = statistics.fmean(each), percentile(each, 0.99)
        yield Row(
            f"9 event, gone from all workers of two instances, since {since}",
            f"mean < {in_words(MEAN_MOST)}" + (f", p99 < {in_words(limit)}" if limit else ""),
            f"mean {in_words(mean)}, p50 {in_words(statistics.median(each))}, p99 {in_words(last)}",
            "",
            mean < MEAN_MOST and (limit is None or last < limit),
            {"mean, µs": round(mean * 1e6, 1), "p99, µs": round(last * 1e6, 1)},
        )
