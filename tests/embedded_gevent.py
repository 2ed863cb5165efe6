"""Starts an embedded Valkey under gevent and prints, as JSON, how evenly another greenlet ran meanwhile.

``python -m tests.embedded_gevent INSTANCE_DIR LINGER BINARY``
"""

from gevent import monkey

monkey.patch_all()

import itertools  # noqa: E402 (gevent wants to come first)
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402

from shivx.embedded import EmbeddedValkey  # noqa: E402

USERS = 8
TICK_SECONDS = 0.01


def tick(moments: list[float]) -> None:
    """Note the time over and over."""
    while True:
        moments.append(time.monotonic())
        gevent.sleep(TICK_SECONDS)


def main() -> None:
    """Let several greenlets, and a native thread, need the server at once."""
    instance_dir, linger, binary = sys.argv[1:]
    valkey = EmbeddedValkey(Path(instance_dir), linger=float(linger), binary=Path(binary))
    moments: list[float] = []
    ticker = gevent.spawn(tick, moments)
    in_thread = gevent.get_hub().threadpool.spawn(valkey.ensure)
    users = [gevent.spawn(valkey.ensure) for _ in range(USERS)]
    gevent.joinall([*users, in_thread], raise_error=True)
    ticker.kill()
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    print(json.dumps({"seconds": moments[-1] - moments[0], "longest_gap": max(gaps)}))


if __name__ == "__main__":
    main()
