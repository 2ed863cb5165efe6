"""Rows of limits: what one request's check with its headers costs beside one round trip of redis-py."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import redis

from benchmarks.racing import Contestant, Crowd, Statement, Times, race
from benchmarks.relay import Relay
from benchmarks.rows import Row, in_words, micros
from benchmarks.stage import Stage
from cache_ext import TieredCache
from cache_ext.limits.limiter import Limiter
from shivx.gate import limit_headers
from shivx.identity import Tier

ALONE_LIMIT = 1.3
"""Times a redis-py round trip, a GET of a key that is there, on the same server, in the same process."""
CROWD_LIMIT = 0.5
"""Of a redis-py round trip alone, for each of `CROWD` at once."""
CROWD = 16
NEVER_REACHED = 1_000_000_000
SUBJECTS = 100
CHECK = "headers(tier, check(next(subjects), limit))"
TRIP = "get('there')"
GREENLETS = "greenlets, as in the default worker"
THREADS = "threads"


def check(stage: Stage) -> Iterator[Row]:
    """One request's check alone, and under concurrency, of a hundred subjects in turn."""
    cache = stage.cache("limits")
    client = redis.Redis.from_url(stage.url)
    stage.on_exit(client.close)
    pace = stage.sizes.pace
    arguments = [stage.url, "limits", str(pace.rounds), str(pace.turn)]
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.limit_greenlets", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    yield from _rows(Times(json.loads(child.stdout)), GREENLETS)
    yield from _rows(race(contestants(cache, client), pace), THREADS)


def contestants(cache: TieredCache, client: redis.Redis) -> list[Contestant]:
    """Return a check and a round trip of redis-py, alone and in a crowd, and one round trip for a crowd."""
    client.set("there", "x")
    limiter = Limiter(cache.gateway, cache.settings, start=cache.runtime.start)
    names = {
        "check": limiter.check,
        "headers": limit_headers,
        "tier": Tier.ANONYMOUS,
        "limit": NEVER_REACHED,
        "subjects": itertools.cycle([f"account:{number}" for number in range(SUBJECTS)]),
    }
    return [
        Statement("check", CHECK, **names),
        Crowd(CROWD, Statement("checks", CHECK, **names)),
        Statement("GET", TRIP, get=client.get),
        Crowd(CROWD, Statement("GETs", TRIP, get=client.get)),
        Crowd(CROWD, Statement("relay", "relay()", relay=Relay(lambda: client.get("there")))),
    ]


def _rows(times: Times, kind: str) -> Iterator[Row]:
    """Compare checks with redis-py alone, in each round; what redis-py takes in a crowd is only shown."""
    together = f"one GET for all of {CROWD}, nothing else: {in_words(times.median('relay'))} for each, "
    together += f"{times.ratio('relay', lambda turn: turn['GET']):.2f} x"
    single = f"redis-py GET {in_words(times.median('GET'))}; {CROWD} at once, for each "
    single += in_words(times.median("GETs"))
    for name, how, limit, peer in (
        ("check", "alone", ALONE_LIMIT, single),
        ("checks", f"{CROWD} at once, for each", CROWD_LIMIT, together),
    ):
        ratio = times.ratio(name, lambda turn: turn["GET"])
        yield Row(
            f"limit check with headers, {kind}: {how}",
            f"≤ {limit} x one round trip of redis-py",
            f"{in_words(times.median(name))}, {ratio:.2f} x",
            peer,
            ratio <= limit,
            micros(times) | {"x redis-py GET": round(ratio, 3)},
        )
