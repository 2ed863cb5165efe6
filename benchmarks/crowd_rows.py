"""Rows of many who want the same: one key across its ends, and a hundred pairs at once."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Iterator
from contextlib import closing

from benchmarks.course import Bots
from benchmarks.many_pairs import LISTED
from benchmarks.market_site import loads, market_site, port_of
from benchmarks.open_load import OpenLoad
from benchmarks.rows import Row, in_words
from benchmarks.served_rows import is_hit, refused
from benchmarks.stage import Stage

CLIENTS = 64
TICK = 1.0
"""Seconds that the price lasts."""
SHARE = 0.1
"""Of the longest load's time: so many ends there are."""
LEAST_LIVES = 2
BATCH = 100
BATCH_LEAST, BATCH_WANTED = 8.5, 20.0
ROUNDS = 15
PAIR = "SOL-USDC"


def one_key(stage: Stage) -> Iterator[Row]:
    """64 clients want one price that lasts a second."""
    stage.client.flushall()
    with market_site(stage.url, model=False, CACHE_MARKET_PRICE_TTL=str(TICK)) as service:
        service.get(f"/api/market/price/{PAIR}")
        seconds = max(LEAST_LIVES * TICK, stage.sizes.seconds * SHARE)
        before, _ = loads(service)["price"]
        bots = Bots((PAIR,), mix=(("price", 1.0),))
        with OpenLoad(port_of(service), bots, stage.sizes.rate, seconds, connections=CLIENTS) as load:
            replies = load.replies()
        made = loads(service)["price"][0] - before
    failed = sum(each.status not in (200, 429) for each in replies)
    waited = sum(each.status == 200 and not is_hit(each) for each in replies)
    lives = seconds / TICK
    most = 1.05 * lives + 1
    yield Row(
        f"7 {CLIENTS} clients, one key that lasts {TICK:.0f} s, {seconds:.0f} s",
        "0 errors, one load a lifetime, nobody waits",
        f"{failed} errors, {made:.0f} loads in {lives:.0f} lifetimes, {waited} of {len(replies)} waited",
        "",
        failed == 0 and made <= most and waited == 0,
        {"loads a lifetime": round(made / lives, 3)},
        refused(replies),
    )


def batch(stage: Stage) -> Iterator[Row]:
    """A hundred prices at once, and one after another, each on one kept connection, both from warm caches."""
    stage.client.flushall()
    pairs = LISTED[:BATCH]
    settings = {"CACHE_MARKET_PRICE_TTL": "600", "LIMIT_ANONYMOUS": "1000000"}
    once, each = [], []
    with (
        market_site(stage.url, model=False, **settings) as service,
        closing(http.client.HTTPConnection("127.0.0.1", port_of(service))) as line,
    ):
        for number in range(1 + min(ROUNDS, stage.sizes.pace.rounds)):
            began = time.perf_counter()
            _ask(line, f"/api/market/prices?pairs={','.join(pairs)}")
            middle = time.perf_counter()
            for pair in pairs:
                _ask(line, f"/api/market/price/{pair}")
            if number:  # the first warms the caches
                once.append(middle - began)
                each.append(time.perf_counter() - middle)
    ratios = [many / one for many, one in zip(each, once, strict=True)]
    ratio = statistics.median(ratios)
    yield Row(
        f"10 a batch of {BATCH} pairs over HTTP",
        f"≥ {BATCH_LEAST} x single calls (wanted {BATCH_WANTED:.0f})",
        f"{ratio:.0f} x: {in_words(statistics.median(once))}",
        f"{BATCH} single calls {in_words(statistics.median(each))}",
        ratio >= BATCH_LEAST,
        {"x single calls": round(ratio, 1)},
    )


def _ask(line: http.client.HTTPConnection, path: str) -> bytes:
    line.request("GET", path)
    answer = line.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
    return body
