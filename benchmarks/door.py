"""The front door beside bare Flask and the usual stack, over HTTP: ``python -m benchmarks.door``.

One run, the same gunicorn settings (one gevent worker each), one Redis, on loopback; contestants in turn,
round after round, ratios within each round. It takes two minutes, and the machine for itself.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.door_load import Load, Turns, contest, ratios
from benchmarks.door_proxies import proxies
from benchmarks.door_servers import Server, Servers
from benchmarks.engine import main
from benchmarks.rows import MICRO, Row, in_words, percentile
from benchmarks.stage import Stage
from tests.service import GunicornService

KEY_MOST, SAME_MOST, TAIL_MOST = 1.15, 1.0, 5.0
HIT, NOT_MODIFIED, HEAD, KEY, SESSION = "hit", "304", "HEAD", "API key", "session"
PEERS = {"bare Flask": 1.0, "stack of the usual extensions": 4.0, "raw WSGI": 0.0}
"""What is asked beside each; the first word is its name in `door_peers`."""
ROUNDS = 7
PASSWORD = "correct horse battery"
RATE = 1000.0
"""Requests a second of the open loop."""
TICKING = "1"
"""Seconds that a price lasts there, so that it expires and is refreshed all the time."""
_KEY = re.compile(r"shx_\S+")


def throughput(stage: Stage) -> Iterator[Row]:
    """A hit with limit check, metrics and all fields beside its peers, and other ways to ask for it."""
    sizes, rounds = stage.sizes, min(ROUNDS, stage.sizes.pace.rounds)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = stack.enter_context(Servers(folder))
        service, ours = servers.service(stage.url, CACHE_MARKET_PRICE_TTL="3600", TRUSTED_PROXIES="1")
        ours.get()
        _, headers, body = ours.get()
        found = stack.enter_context(proxies(folder, ours.port))
        others = [Load(name, each) for name, each in found.items() if isinstance(each, Server)]
        loads = [
            Load(HIT, ours),
            *(Load(name, servers.peer(name.split()[0], body, stage.url)) for name in PEERS),
            Load(NOT_MODIFIED, ours, 304, headers=(("If-None-Match", headers["ETag"]),)),
            Load(HEAD, ours, method="HEAD"),
            Load(KEY, ours, headers=(("X-API-Key", _make_key(service)),)),
            Load(SESSION, ours, headers=(("Cookie", _log_in(service)),)),
            *others,
        ]
        turns = contest(loads, rounds, sizes.turn, sizes.connections)
    hit = turns[HIT]
    for name, least in PEERS.items():
        ratio = ratios(hit.rates, turns[name].rates)
        asked = f"≥ {least} x the requests a second of {name}" if least else ""
        met = ratio[0] >= least if least else None
        yield _row(f"{HIT}, beside {name}", asked, hit, ratio, met, turns[name])
    for name, most in ((KEY, KEY_MOST), (SESSION, KEY_MOST), (NOT_MODIFIED, SAME_MOST), (HEAD, SAME_MOST)):
        ratio = ratios(turns[name].costs, hit.costs)
        yield _row(name, f"≤ {most} x the CPU of a {HIT}", turns[name], ratio, ratio[0] <= most, hit)
    for name, each in found.items():
        if isinstance(each, str):
            yield Row(f"{HIT}, CPU beside {name}", "", f"not run: {each}", "")
        else:
            ratio = ratios(hit.costs, turns[name].costs)
            yield _row(f"{HIT}, CPU beside {name}", "", hit, ratio, None, turns[name])


def tail(stage: Stage) -> Iterator[Row]:
    """Waiting times at a steady rate while the price expires and is made anew, from when each was due."""
    sizes, seconds = stage.sizes, stage.sizes.turn * min(ROUNDS, stage.sizes.pace.rounds)
    with ExitStack() as stack:
        servers = stack.enter_context(Servers(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        _, ours = servers.service(stage.url, CACHE_MARKET_PRICE_TTL=TICKING, TRUSTED_PROXIES="1")
        connected = stack.enter_context(Load(HIT, ours).connect(sizes.connections))
        connected.pace(RATE, sizes.turn)
        waits = connected.pace(RATE, seconds)
    middle, last = statistics.median(waits), percentile(waits, 0.99)
    yield Row(
        f"{RATE:.0f} requests a second, one worker, a price lasting {TICKING} s",
        f"p99 ≤ {TAIL_MOST} x the median",
        f"{last / middle:.1f} x: p99 {in_words(last)}, median {in_words(middle)}, {len(waits)} requests",
        "",
        last <= TAIL_MOST * middle,
        {"p50, µs": round(middle * MICRO, 1), "p99, µs": round(last * MICRO, 1)},
    )


def _row(
    what: str, asked: str, mine: Turns, found: tuple[float, float, float], met: bool | None, theirs: Turns
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


MEASUREMENTS = (throughput, tail)

if __name__ == "__main__":
    main(MEASUREMENTS, str(__doc__), Path("build/door.json"))
