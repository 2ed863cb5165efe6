"""Answers that caches understand: freshness, validators, and where the answer came from."""

from __future__ import annotations

import hashlib
import math
from typing import TypeVar

from flask import Response, current_app, request

from cache_ext import CachePolicy
from shivx.errors import OriginUnavailable
from shivx.services import Answer
from shivx.wiring import services_of

T = TypeVar("T")

ETAG_BYTES = 12


def answer(body: bytes, freshness: Answer[object], policy: CachePolicy, status: int = 200) -> Response:
    """Return *body*, JSON, as an answer; 304 without it if the client has it.

    ``max-age`` is the whole lifetime of the fact and ``Age`` how much of it is over, so that what is left
    (RFC 9111, section 4.2) is what is left here.

    Args:
        freshness: of what the body was made of.
        policy: of what the body was made of; says for how long it may be served stale.
        status: other than 200 for a batch of which nothing succeeded.
    Raises:
        OriginUnavailable: it is stale, and the request says ``stale-if-error=0``.
    """
    acceptable = as_asked(freshness)
    if isinstance(acceptable, Exception):
        raise acceptable
    response = Response(body, status=status, mimetype="application/json")
    response.headers["X-Cache"] = _x_cache(freshness)
    if status != 200:
        response.headers["Cache-Control"] = "no-store"
        return response
    lifetime = policy.ttl if math.isinf(freshness.ttl_left) else freshness.age + freshness.ttl_left
    directives = ["public", f"max-age={max(0, round(lifetime))}"]
    if policy.stale_while_revalidate:
        directives.append(f"stale-while-revalidate={int(policy.stale_while_revalidate)}")
    if policy.stale_if_error:
        directives.append(f"stale-if-error={int(policy.stale_if_error)}")
    response.headers["Cache-Control"] = ", ".join(directives)
    response.headers["Age"] = str(int(freshness.age))
    response.set_etag(hashlib.blake2b(body, digest_size=ETAG_BYTES).hexdigest())
    response.make_conditional(request)
    return response


def wants_fresh() -> bool:
    """Tell whether the request refuses what is past its lifetime."""
    return request.cache_control.get("stale-if-error") == "0"


def as_asked(found: Answer[T]) -> Answer[T] | OriginUnavailable:
    """Return *found*, or what to say instead if it is stale and the request wants nothing stale."""
    if found.stale and wants_fresh():
        return OriginUnavailable("the origin gave nothing fresh, and the request wants nothing stale")
    return found


def _x_cache(freshness: Answer[object]) -> str:
    return freshness.outcome.upper() if services_of(current_app).settings.cache_enabled else "BYPASS"
