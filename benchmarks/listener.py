"""The other process of the coherence row: ``python -m benchmarks.listener URL NAMESPACE MODE``.

For each line on its input it puts a value into its L1, says so, asks L1 for it until it is served no more,
and prints that moment, nanoseconds of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import sys
import time

from benchmarks.samples import TTL, flat
from benchmarks.stage import OP_TIMEOUT, hearing
from cache_ext import open_cache

PAUSE = 0.0001


def main() -> None:
    """Do as the module's docstring says, until the input ends."""
    url, namespace, mode = sys.argv[1:4]
    cache = hearing(open_cache(url, namespace=namespace, op_timeout=OP_TIMEOUT))
    near, eager = cache.runtime.reader.near, "pure" in mode
    for _ in sys.stdin:
        cache.get_or_load("hot", flat, ttl=TTL, tags=("pair:SOL-USDC",))
        print("ready", flush=True)
        while near("hot") is not None:
            if not eager:
                time.sleep(PAUSE)
        print(time.monotonic_ns(), flush=True)
    cache.close()


if __name__ == "__main__":
    main()
