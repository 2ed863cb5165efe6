"""An application behind an `HttpCache`, served by gunicorn: each run is counted, and can be held.

Everything goes by database 1 of its Redis, by path: a run adds 1 to ``runs:PATH`` and answers with that
number and who asked; ``says:PATH`` has its Cache-Control and ``status`` its status; while there is a ``hold``
it waits until something is pushed to ``release``. ``came:PATH`` counts requests before the cache sees them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import redis

from cache_ext import HttpCache, open_cache

DEFAULT = "max-age=600"
LONGEST_HOLD = 60.0


def make_app() -> Any:
    """Return the WSGI application."""
    url = os.environ["TEST_REDIS"]
    desk = redis.Redis.from_url(url.replace("/0", "/1"), decode_responses=True)

    def show(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        run = desk.incr(f"runs:{path}")
        if desk.get("hold"):
            desk.blpop(["release"], LONGEST_HOLD)
        who = environ.get("HTTP_AUTHORIZATION") or environ.get("HTTP_COOKIE") or "nobody"
        control = desk.get(f"says:{path}") or DEFAULT
        start_response(
            desk.get("status") or "200 OK", [("Cache-Control", control), ("Content-Type", "text/plain")]
        )
        return [f"run {run} for {who}".encode()]

    cached = HttpCache(show, open_cache(url, namespace="http", op_timeout=2.0))

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/readyz":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ready"]
        desk.incr(f"came:{environ['PATH_INFO']}")

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, [*headers, ("X-Worker", str(os.getpid()))], *exc_info)

        return cached(environ, start)

    return app
