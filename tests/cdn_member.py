"""An application for tests of a CDN, served by gunicorn: its answers can be held, its purges are told.

Everything goes by database 1 of its Redis: an answer is the number in ``fact``, read through the cache; while
there is a ``hold``, an answer for ``/held…`` waits, after it has read and said so in ``arrived``, until
something is pushed to ``release``; ``purged`` gets the names of each purge that is done. POST invalidates.
"""

from __future__ import annotations

import os
from collections.abc import Collection

import redis
from flask import Flask, Response, request

from cache_ext import CacheExt
from cache_ext.cdn.headers import SurrogateHeaders
from cache_ext.cdn.names import VARNISH_BYTES, SurrogateNames
from cache_ext.cdn.purgers import VarnishPurger
from cache_ext.cdn.purging import Purging
from cache_ext.cdn.tagging import Tagged
from tests.cdn_stage import send

LONGEST_HOLD = 60.0
MANY = 2_000


class TellingPurger:
    """Tells in ``purged`` what it has done."""

    def __init__(self, purger: VarnishPurger, desk: redis.Redis) -> None:
        self._purger = purger
        self._desk = desk

    def purge(self, names: Collection[str]) -> None:
        """Have *names* purged."""
        self._purger.purge(names)
        self._desk.rpush("purged", " ".join(names))


def make_app() -> Flask:
    """Return the application."""
    url = os.environ["TEST_REDIS"]
    app, desk = Flask(__name__), redis.Redis.from_url(url.replace("/0", "/1"), decode_responses=True)
    app.config.update(CACHE_EXT_REDIS_URL=url, CACHE_EXT_NAMESPACE="cdn", CACHE_EXT_OP_TIMEOUT=2.0)
    cache = CacheExt().init_app(app)
    names = SurrogateNames("cdn", VARNISH_BYTES)
    purger = TellingPurger(VarnishPurger(os.environ["TEST_VARNISH"], os.environ["TEST_TOKEN"], send), desk)
    app.extensions["purging"] = Purging(
        cache, names, purger, again_after=float(os.environ["TEST_AGAIN_AFTER"])
    )

    @app.get("/readyz")
    def ready() -> str:
        return "ready"

    @app.get("/<name>")
    def show(name: str) -> Response:
        tags = [f"Ä {name}{number}" for number in range(MANY if name == "many" else 1)]
        fact = cache.get_or_load(f"fact:{name}", lambda: desk.get("fact") or "", ttl=600, tags=tags)
        if name.startswith("held") and desk.get("hold"):
            desk.rpush("arrived", 1)
            desk.blpop(["release"], LONGEST_HOLD)
        answer = Response(fact, headers={"Cache-Control": "public, max-age=600", "RateLimit": "mine"})
        answer.headers["X-Request-ID"] = "mine"
        if name == "cookie":
            answer.set_cookie("whose", "mine")
        return answer

    @app.post("/")
    def invalidate() -> dict[str, bool]:
        return {"applied": cache.invalidate_tags(request.get_data(as_text=True)).applied}

    app.wsgi_app = SurrogateHeaders(Tagged(app.wsgi_app), names)  # type: ignore[method-assign]
    return app
