"""The rows of limits among greenlets: ``python -m benchmarks.limit_greenlets URL NAMESPACE ROUNDS TURN``.

A process of its own, for gevent wants to be there first. Prints, as JSON, the seconds of each round by name.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 (gevent wants to come first)
import sys  # noqa: E402

import redis  # noqa: E402

from benchmarks.limit_rows import contestants  # noqa: E402
from benchmarks.racing import Pace, race  # noqa: E402
from benchmarks.stage import OP_TIMEOUT, hearing  # noqa: E402
from cache_ext import open_cache  # noqa: E402


def main() -> None:
    """Do as the module's docstring says."""
    url, namespace, rounds, turn = sys.argv[1:]
    cache = hearing(open_cache(url, namespace=namespace, op_timeout=OP_TIMEOUT))
    client = redis.Redis.from_url(url)
    times = race(contestants(cache, client), Pace(int(rounds), float(turn)))
    print(json.dumps(times.rounds))
    client.close()
    cache.close()


if __name__ == "__main__":
    main()
