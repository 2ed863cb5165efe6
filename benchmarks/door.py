"""The front door beside bare Flask and the usual stack, over HTTP: ``python -m benchmarks.door``.

One run, the same gunicorn settings (one gevent worker each), one Redis, on loopback; contestants in turn,
round after round, ratios within each round. It takes two minutes, and the machine for itself.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.door_load import Load, Turns, contest, ratios
from benchmarks.door_servers import Servers
from benchmarks.rows import MICRO, Row, as_table, in_words
from benchmarks.stage import FULL, Stage, describe, is_busy
from tests.service import GunicornService

BARE_LEAST, STACK_LEAST, KEY_MOST, SAME_MOST, TAIL_MOST = 1.0, 4.0, 1.15, 1.0, 5.0
HIT, BARE, STACK, NOT_MODIFIED, HEAD = "hit", "bare Flask", "usual stack", "304", "HEAD"
KEY, SESSION = "API key", "session"
PASSWORD = "correct horse battery"
RATE = 1000.0
"""Requests a second of the open loop."""
TICKING = "1"
"""Seconds that a price lasts there, so that it expires and is refreshed all the time."""
_KEY = re.compile(r"shx_\S+")


@dataclass(frozen=True)
class Sizes:
    """How much is measured: rounds, seconds of each contestant's turn, connections."""

    rounds: int
    seconds: float
    connections: int


FULL_SIZES, TINY_SIZES = Sizes(7, 1.5, 64), Sizes(1, 0.2, 4)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="only see that everything runs")
    sizes = TINY_SIZES if parser.parse_args().tiny else FULL_SIZES
    busy = is_busy()
    with Stage(FULL) as stage, tempfile.TemporaryDirectory() as folder, Servers(Path(folder)) as servers:
        print(", ".join(f"{name} {value}" for name, value in describe(stage).items()), end="\n\n", flush=True)
        rows = [*throughput(servers, stage.url, sizes), tail(servers, stage.url, sizes)]
    print(as_table(rows).partition("\n\n")[0])
    if busy:
        print("\nOther programs were running when this began: compare with care, within this table only.")


def throughput(servers: Servers, redis_url: str, sizes: Sizes) -> Iterator[Row]:
    """A hit with limit check, metrics and all fields beside its peers, and other ways to ask for it."""
    service, ours = servers.service(redis_url, CACHE_MARKET_PRICE_TTL="3600", TRUSTED_PROXIES="1")
    ours.get()
    _, headers, body = ours.get()
    loads = [
        Load(HIT, ours),
        Load(BARE, servers.peer("bare", body, redis_url)),
        Load(STACK, servers.peer("stack", body, redis_url)),
        Load(NOT_MODIFIED, ours, 304, headers=(("If-None-Match", headers["ETag"]),)),
        Load(HEAD, ours, method="HEAD"),
        Load(KEY, ours, headers=(("X-API-Key", _make_key(service)),)),
        Load(SESSION, ours, headers=(("Cookie", _log_in(service)),)),
    ]
    turns = contest(loads, sizes.rounds, sizes.seconds, sizes.connections)
    hit = turns[HIT]
    for name, least in ((BARE, BARE_LEAST), (STACK, STACK_LEAST)):
        found = ratios(hit.rates, turns[name].rates)
        asked = f"≥ {least} x the requests a second of {name}"
        yield _row(
            f"{HIT}, {sizes.connections} connections", asked, hit, found, found[0] >= least, turns[name]
        )
    for name, most in ((KEY, KEY_MOST), (SESSION, KEY_MOST), (NOT_MODIFIED, SAME_MOST), (HEAD, SAME_MOST)):
        found = ratios(turns[name].costs, hit.costs)
        yield _row(name, f"≤ {most} x the CPU of a {HIT}", turns[name], found, found[0] <= most, hit)


def tail(servers: Servers, redis_url: str, sizes: Sizes) -> Row:
    """Waiting times at a steady rate while the price expires and is made anew, from when each was due."""
    _, ours = servers.service(redis_url, CACHE_MARKET_PRICE_TTL=TICKING, TRUSTED_PROXIES="1")
    with Load(HIT, ours).connect(sizes.connections) as connected:
        connected.pace(RATE, sizes.seconds)
        waits = sorted(connected.pace(RATE, sizes.rounds * sizes.seconds))
    middle, last = statistics.median(waits), waits[int(len(waits) * 0.99)]
    return Row(
        f"{RATE:.0f} requests a second, a price lasting {TICKING} s",
        f"p99 ≤ {TAIL_MOST} x the median",
        f"{last / middle:.1f} x: p99 {in_words(last)}, median {in_words(middle)}, {len(waits)} requests",
        "",
        last <= TAIL_MOST * middle,
        {"p50, µs": round(middle * MICRO, 1), "p99, µs": round(last * MICRO, 1)},
    )


def _row(
    what: str, asked: str, mine: Turns, found: tuple[float, float, float], met: bool, theirs: Turns
) -> Row:
    middle, least, most = found
    got = f"{middle:.2f} x ({least:.2f} to {most:.2f}): {_words(mine)}"
    return Row(what, asked, got, _words(theirs), met, {"ratio": round(middle, 3)})


def _words(turns: Turns) -> str:
    rate, cost = statistics.median(turns.rates), statistics.median(turns.costs)
    return f"{rate:.0f} requests a second, {in_words(max(cost, 1e-9))} of CPU each"


def _make_key(service: GunicornService) -> str:
    """Return an API key of a new account."""
    _accounts(service, "create", "door", "--tier", "authenticated", "--password-stdin", stdin=PASSWORD)
    answer = _accounts(service, "keys", "create", "door")
    if (found := _KEY.search(answer)) is None:
        sys.exit(f"no API key: {answer[-500:]}")
    return found[0]


def _accounts(service: GunicornService, *words: str, stdin: str = "") -> str:
    """Return what ``flask accounts`` says."""
    done = service.run("flask", "--app", "wsgi", "accounts", *words, stdin=stdin)
    return done.stdout + done.stderr


def _log_in(service: GunicornService) -> str:
    """Return the cookie of that account's new session."""
    body = json.dumps({"username": "door", "password": PASSWORD}).encode()
    answer = service.send("POST", "/api/auth/login", body, {"Content-Type": "application/json"})
    cookie = answer.headers["Set-Cookie"]
    if cookie is None:
        sys.exit(f"no session: {answer.body[-500:]!r}")
    return cookie.partition(";")[0]


if __name__ == "__main__":
    main()
