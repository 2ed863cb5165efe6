"""Remembering, so that it can be explained later, what requests did that no cache stands before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app, request

from blueprints.audited import UNKNOWN
from blueprints.rights import ENDPOINT
from cache_ext.engine import TieredCache
from cache_ext.explain.trails import Plain, current_trail
from shivx.request_ids import REQUEST_ID
from shivx.wiring import services_of

PROBES = frozenset({"operations.healthz", "operations.readyz", "operations.metrics"})
"""Views that machines ask all the time: nobody wants to know, and they would push others out."""
Denied = Callable[[dict[str, Any], int], None]


def note_views(app: Flask) -> None:
    """Have each answer of a view remembered, unless the cache before it notes what the request does."""
    app.after_request(_note)


def noting_refusals(denied: Denied, cache: TieredCache) -> Denied:
    """Return *denied*, for `shivx.edge.envelope`, which has remembered as well what never reached a view."""

    def noting(environ: dict[str, Any], status: int) -> None:
        if ENDPOINT not in environ:
            _remember(cache, environ, UNKNOWN, status)
        denied(environ, status)

    return noting


def _note(response: Response) -> Response:
    if current_trail() is None and request.endpoint not in PROBES:
        name = request.endpoint or UNKNOWN
        _remember(services_of(current_app).cache, request.environ, name, response.status_code)
    return response


def _remember(cache: TieredCache, environ: dict[str, Any], name: str, status: int) -> None:
    """Note a request by the *name* of its view: a path may hold what is nobody's business."""
    runtime = cache.runtime
    method = str(environ.get("REQUEST_METHOD", ""))[:16]
    runtime.memory.note(Plain(environ.get(REQUEST_ID, ""), runtime.monotonic(), method, name, status))
