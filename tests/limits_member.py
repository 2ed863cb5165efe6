"""A worker of a fleet, for tests: ``limits_member.py URL NAMESPACE LIMIT WINDOW SECONDS THREADS [gevent]``.

It waits for a line, asks as often as it can for some seconds, and prints what was admitted: a line of JSON,
times in ms by Redis' clock.
"""

from __future__ import annotations

import sys

if "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import json
import threading
import time

from cache_ext import open_cache
from cache_ext.limits.limiter import Limiter
from tests.caches import connected


def main() -> None:
    """Do as told on the command line."""
    url, namespace = sys.argv[1:3]
    limit, window, seconds, threads = (float(text) for text in sys.argv[3:7])
    cache = connected(open_cache(url, namespace=namespace, op_timeout=5.0))
    limiter = Limiter(cache.gateway, cache.settings, start=cache.runtime.start)
    admitted: list[int] = []
    sizes: list[int] = []
    counts = limiter._counts
    ask = counts.ask
    check = limiter._check("account:1", int(limit), 1, window)

    def noting(checks):
        answers = ask(checks)
        sizes.append(len(checks))
        admitted.extend(answer.now for answer in answers if answer.ready == 0)
        return answers

    limiter._trips._ask = noting
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds

    def press() -> None:
        while time.monotonic() < end:
            limiter._trips.ask(check)

    crew = [threading.Thread(target=press) for _ in range(int(threads))]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    print(json.dumps({"admitted": admitted, "sizes": sizes}), flush=True)
    cache.close()


if __name__ == "__main__":
    main()
