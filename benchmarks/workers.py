"""Which gunicorn worker, and how many: one cached price over HTTP, all choices in turn, several rounds.

Run from the repository with nothing else on the machine::

    .venv/bin/python -m benchmarks.workers [--rounds 3] [--seconds 5] [--connections 64]

It needs wrk (Debian's package). wrk is closed-loop: it asks again when it has an answer. Its figures compare
throughput; they do not say what latency callers see who ask at their own pace.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict

from tests.service import GunicornService

PATH = "/api/market/price/SOL-USDC"
CHOICES = [(worker, count) for count in (1, 2, 4) for worker in ("gevent", "gthread")]
RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
FAILED = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")


def measure(worker: str, count: int, seconds: int, connections: int) -> float:
    """Return requests per second of a hot price; stop the program if any failed."""
    with GunicornService(workers=count, worker_class=worker) as service:
        service.get(PATH)
        output = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", service.url + PATH],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    if failed := FAILED.search(output):
        sys.exit(f"{worker} x {count}: {failed.group()}")
    rate = RATE.search(output)
    if rate is None:
        sys.exit(output)
    return float(rate.group(1))


def main() -> None:
    """Measure and print one row per choice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing; on Debian: apt install wrk")
    rates: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        for worker, count in CHOICES:
            rates[worker, count].append(measure(worker, count, options.seconds, options.connections))
    base = statistics.median(rates["gthread", 1])
    print(f"{'worker':<8} {'count':>5} {'req/s, median (min-max)':>28} {'x gthread 1':>12}")
    for (worker, count), seen in rates.items():
        middle = statistics.median(seen)
        spread = f"{middle:.0f} ({min(seen):.0f}-{max(seen):.0f})"
        print(f"{worker:<8} {count:>5} {spread:>28} {middle / base:>12.2f}")


if __name__ == "__main__":
    main()
