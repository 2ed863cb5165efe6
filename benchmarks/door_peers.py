"""What the front door is measured beside, for gunicorn: raw WSGI, a bare view, the stack one would assemble.

All answer with the bytes in the file ``DOOR_BODY``, at the path of a price.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import redis
from flask import Flask, Response
from flask_caching import Cache
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_session import Session
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics

ROUTE = "/api/market/price/<pair>"
KIND = "application/json"
FRESH = 60
"""Seconds for which the stack's view is cached."""
ENOUGH = "100000000 per minute"
"""A limit that no measurement reaches."""


def _body() -> bytes:
    return Path(os.environ["DOOR_BODY"]).read_bytes()


def raw() -> WSGIApplication:
    """Return an application without any framework that hands out ready bytes: the floor."""
    body = _body()
    headers = [("Content-Type", KIND), ("Content-Length", str(len(body)))]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return [body]

    return app


def bare() -> Flask:
    """Return a Flask application that hands out ready bytes, and does nothing else."""
    app, body = Flask("bare"), _body()

    @app.get(ROUTE)
    def price(pair: str) -> Response:
        return Response(body, content_type=KIND)

    return app


def stack() -> Flask:
    """Return the bare view behind the usual extensions, on the Redis at ``DOOR_REDIS_URL``."""
    app, body, url = Flask("stack"), _body(), os.environ["DOOR_REDIS_URL"]
    app.config.update(
        SECRET_KEY="only for measuring",
        CACHE_TYPE="RedisCache",
        CACHE_REDIS_URL=url,
        SESSION_TYPE="redis",
        SESSION_REDIS=redis.Redis.from_url(url),
        SESSION_SERIALIZATION_FORMAT="msgpack",
    )
    cache = Cache(app)
    Session(app)
    PrometheusMetrics(app, registry=CollectorRegistry(), path=None, group_by="url_rule")
    Limiter(
        get_remote_address,
        app=app,
        default_limits=[ENOUGH],
        storage_uri=url,
        strategy="sliding-window-counter",
        headers_enabled=True,
    )

    @app.get(ROUTE)
    @cache.cached(timeout=FRESH)
    def price(pair: str) -> Response:
        response = Response(body, content_type=KIND)
        response.add_etag()
        return response

    return app
