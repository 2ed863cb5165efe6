"""A process that has hooks, for tests: ``hooks_member.py URL NAMESPACE ROLE``.

It reports to database 1 of the same server: counts itself in ``ready`` and appends "pid event-id" to
``begun`` when a hook is called and to ``runs`` when it ends. In the role ``slow`` it ends when something is
pushed to ``release``. In the role ``forked`` all this is done by a child, forked when the cache ran already.
In the roles ``ruled`` and ``stuck`` it has no hook but rules, by which a trade ends its pair, and that report
likewise; in the latter they come to no end. In the role ``hasty`` it emits a trade of the id ``t-1`` and is
killed between the invalidation and the stream.
It goes on until it is terminated, or its parent has ended.
"""

from __future__ import annotations

import sys

if "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import os
import signal
import threading

import redis

from cache_ext import open_cache
from tests.caches import connected

LONGEST_RUN = 60.0


def main() -> None:
    """Run hooks until told to end."""
    url, namespace, role = sys.argv[1:4]
    desk = redis.Redis.from_url(url.replace("/0", "/1"), decode_responses=True)
    cache = open_cache(url, namespace=namespace, op_timeout=2.0, pool_size=4)

    def note(event):
        desk.rpush("begun", f"{os.getpid()} {event.id}")
        if role in ("slow", "stuck"):
            desk.blpop(["release"], LONGEST_RUN)
        desk.rpush("runs", f"{os.getpid()} {event.id}")

    def tags_of(event):
        note(event)
        return [f"pair:{event.data['pair']}"]

    if role in ("ruled", "stuck", "hasty"):
        cache.hooks.invalidate_by(tags_of, cache)
    else:
        cache.hooks.on("trade_executed", name="note")(note)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    connected(cache)
    if role == "forked" and (child := os.fork()):
        cache.close()
        signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
        os.waitpid(child, 0)
        return
    connected(cache)
    if role == "hasty":
        cache.hooks._stream.emit = lambda events: os.kill(os.getpid(), signal.SIGKILL)
        cache.hooks.emit("trade_executed", {"pair": "SOL-USDC"}, id="t-1")
    parent = os.getppid()
    desk.incr("ready")
    while os.getppid() == parent and not ended.wait(1.0):
        pass
    cache.close()


if __name__ == "__main__":
    main()
