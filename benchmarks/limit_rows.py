"""Rows of limits: what one request's check with its headers costs beside one round trip of redis-py."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import redis

from benchmarks.racing import Crowd, Statement, race
from benchmarks.rows import Row, in_words, micros
from benchmarks.stage import Stage
from cache_ext.limits.limiter import Limiter
from shivx.gate import limit_headers
from shivx.identity import Tier

ALONE_LIMIT = 1.3
"""Times a redis-py round trip, a GET of a key that is there, on the same server."""
CROWD_LIMIT = 0.5
"""Of a redis-py round trip alone, for each of `CROWD` at once."""
CROWD = 16
NEVER_REACHED = 1_000_000_000
SUBJECTS = 100
CHECK = "headers(tier, check(next(subjects), limit))"


def check(stage: Stage) -> Iterator[Row]:
    """One request's check alone, and under concurrency, of a hundred subjects in turn."""
    cache = stage.cache("limits")
    cache.start()
    limiter = Limiter(cache.gateway, cache.settings, start=cache.runtime.start)
    client = redis.Redis.from_url(stage.url)
    stage.on_exit(client.close)
    client.set("there", "x")
    subjects = itertools.cycle([f"account:{number}" for number in range(SUBJECTS)])
    names = {
        "check": limiter.check,
        "headers": limit_headers,
        "tier": Tier.ANONYMOUS,
        "limit": NEVER_REACHED,
        "subjects": subjects,
    }
    alone = Statement("check", CHECK, **names)
    crowd = Crowd(CROWD, Statement(f"check, {CROWD} threads", CHECK, **names))
    trip = Statement("redis-py GET", "get('there')", get=client.get)
    times = race([alone, crowd, trip], stage.sizes.pace)
    beside = f"redis-py GET {in_words(times.median(trip.name))}"
    for contestant, limit in ((alone, ALONE_LIMIT), (crowd, CROWD_LIMIT)):
        ratio = times.ratio(contestant.name, lambda turn: turn[trip.name])
        yield Row(
            f"limit check with headers: {contestant.name}",
            f"≤ {limit} x one round trip of redis-py",
            f"{in_words(times.median(contestant.name))}, {ratio:.2f} x",
            beside,
            ratio <= limit,
            micros(times) | {"x redis-py GET": round(ratio, 3)},
        )
