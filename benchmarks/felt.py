"""How soon an event that is posted is felt in both workers of the service: ``python -m benchmarks.felt``.

One connection to each worker asks for a price each millisecond; another posts the event that changes it. Each
answer that is still the old one was asked for at some moment: the last of these, at both workers, tells how
long it took. Meanwhile both workers are asked for another price, at a steady rate. It takes a minute, and the
machine for itself.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.door_client import Connections
from benchmarks.door_servers import Servers
from benchmarks.rows import Row, as_table, in_words, percentile
from benchmarks.stage import FULL, Stage, describe, is_busy
from tests.service import GunicornService

LIMIT = 0.005
"""Seconds, the 99th percentile."""
RATES = (0, 500, 1000)
"""Requests a second that both workers are asked meanwhile."""
TRIES, TINY_TRIES = 300, 3
WORKERS = 2
CONNECTIONS = 16
PRICE, OTHER = (f"/api/market/price/{pair}" for pair in ("SOL-USDC", "BTC-USDC"))
LASTING = "600"
"""Seconds that a price lasts, so that nothing but events ends it."""
PAUSE = 0.005
"""Seconds that the workers are asked before each event."""
REST = 0.001
"""Seconds between two questions of one asker: without any, the askers alone keep two cores busy."""
TOO_LONG = 30.0
LEAST = 1e-6
"""Seconds that stand for none at all."""
_KEY = re.compile(r"shx_\S+")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="only see that everything runs")
    tries = TINY_TRIES if parser.parse_args().tiny else TRIES
    busy = is_busy()
    with Stage(FULL) as stage, tempfile.TemporaryDirectory() as folder, Servers(Path(folder)) as servers:
        print(", ".join(f"{name} {value}" for name, value in describe(stage).items()), end="\n\n", flush=True)
        service, _ = servers.service(stage.url, workers=WORKERS, CACHE_MARKET_PRICE_TTL=LASTING)
        key = key_of(service)
        rows = [row for rate in RATES for row in _rows(rate, list(lags([service], key, rate, tries)))]
    print(as_table(rows))
    if busy:
        print("\nOther programs were running when this began: compare with care, within this table only.")


def _rows(rate: int, found: list[tuple[float, float]]) -> Iterator[Row]:
    load = f"at {rate} requests a second" if rate else "at rest"
    for since, each in zip(("posted", "the answer to it"), zip(*found, strict=True), strict=True):
        middle, last = statistics.median(each), percentile(each, 0.99)
        yield Row(
            f"event over HTTP, gone from both workers, {load}, since {since}",
            f"≤ {in_words(LIMIT)} (p99)",
            f"p50 {_told(middle)}, p99 {_told(last)}",
            "",
            last <= LIMIT,
        )


def _told(seconds: float) -> str:
    return "none" if seconds <= LEAST else in_words(seconds)


def lags(
    services: Sequence[GunicornService], key: str, rate: int, tries: int
) -> Iterator[tuple[float, float]]:
    """Yield what `one_event` returns for each event, told to the first service, asked of all workers."""
    port = int(services[0].url.rpartition(":")[2])
    with ExitStack() as stack:
        lines = [
            stack.enter_context(connection(int(service.url.rpartition(":")[2]), pid))
            for service in services
            for pid in service.worker_pids()
        ]
        teller = stack.enter_context(connection(port))
        stack.enter_context(load(port, rate))
        for _ in range(tries):
            yield one_event(lines, teller, key)


def one_event(
    lines: list[http.client.HTTPConnection], teller: http.client.HTTPConnection, key: str
) -> tuple[float, float]:
    """Post an event; return how long after it, and after its answer, one of *lines* was told the old."""
    old = {ask(line) for line in lines * 2}
    while len(old) > 1:
        old = {ask(line) for line in lines}
    (before,) = old
    told = threading.Event()
    latest: list[float] = []

    def watch(line: http.client.HTTPConnection) -> None:
        last = 0.0
        while True:
            asked = time.monotonic()
            if ask(line) != before:
                break
            last = asked
            told.wait(REST)
        latest.append(last)

    watching = [threading.Thread(target=watch, args=(line,)) for line in lines]
    for thread in watching:
        thread.start()
    told.wait(PAUSE)
    began = time.monotonic()
    body = json.dumps({"type": "trade_executed", "pair": PRICE.rpartition("/")[2]})
    teller.request("POST", "/api/events", body, {"X-API-Key": key, "Content-Type": "application/json"})
    answer = teller.getresponse()
    if answer.status != http.client.ACCEPTED:
        raise RuntimeError(answer.read().decode())
    answer.read()
    answered = time.monotonic()
    for thread in watching:
        thread.join(TOO_LONG)
    last = max(latest)
    return max(LEAST, last - began), max(LEAST, last - answered)


def ask(line: http.client.HTTPConnection) -> bytes:
    """Return what the worker behind *line* says of the price."""
    line.request("GET", PRICE)
    return line.getresponse().read()


@contextmanager
def connection(port: int, worker: int | None = None) -> Iterator[http.client.HTTPConnection]:
    """Open a kept connection, one that the process *worker* answers if it is given."""
    with ExitStack() as others:
        while True:
            made = http.client.HTTPConnection("127.0.0.1", port, timeout=TOO_LONG)
            others.callback(made.close)
            ask(made)
            if worker is None or holds(worker, made, port):
                yield made
                return


def holds(worker: int, line: http.client.HTTPConnection, port: int) -> bool:
    """Tell whether the other end of *line* is a socket of the process *worker*."""
    (_, mine), ends = line.sock.getsockname(), {}
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, *_, inode = row.split()[:10]
        ends[local.rpartition(":")[2], remote.rpartition(":")[2]] = inode
    wanted = f"socket:[{ends[f'{port:04X}', f'{mine:04X}']}]"
    return any(
        each.is_symlink() and str(each.readlink()) == wanted for each in Path(f"/proc/{worker}/fd").iterdir()
    )


def key_of(service: GunicornService) -> str:
    """Make a service account and return a key of it."""
    service.run("flask", "--app", "wsgi", "accounts", "create", "teller", "--tier", "service")
    made = service.run("flask", "--app", "wsgi", "accounts", "keys", "create", "teller")
    key = _KEY.search(made.stdout)
    if key is None:
        raise RuntimeError(made.stderr)
    return key.group()


@contextmanager
def load(port: int, rate: int) -> Iterator[None]:
    """Have the workers asked *rate* times a second, by another process, while the body runs."""
    if not rate:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(target=press, args=(port, rate), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def press(port: int, rate: int) -> None:
    """Ask *rate* times a second, until ended."""
    request = f"GET {OTHER} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with Connections(port, [request], CONNECTIONS, 200, bodies=True) as asking:
        while True:
            asking.pace(rate, 1.0)


if __name__ == "__main__":
    main()
