"""Answers that caches understand: freshness, validators, and where the answer came from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from http import HTTPStatus
from typing import TypeVar

from flask import Response, current_app, request

from blueprints.problems import retry_after
from cache_ext import CachePolicy, Outcome
from shivx.errors import OriginError, OriginUnavailable
from shivx.services import Answer
from shivx.wiring import services_of

T = TypeVar("T")

ETAG_BYTES = 12


def answer(body: bytes, freshness: Answer[object], policy: CachePolicy) -> Response:
    """Return *body*, JSON, as an answer; 304 without it if the client has it.

    ``max-age`` is the whole lifetime of the fact and ``Age`` how much of it is over, so that what is left
    (RFC 9111, section 4.2) is what is left here.

    Args:
        freshness: of what the body was made of.
        policy: of what the body was made of; says for how long it may be served stale.
    Raises:
        OriginUnavailable: it is stale, and the request says ``stale-if-error=0``.
    """
    acceptable = as_asked(freshness)
    if isinstance(acceptable, Exception):
        raise acceptable
    response = _json(body, freshness.outcome)
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


def broken_batch(
    body: bytes, freshness: Answer[object], failures: Collection[Exception], status: int
) -> Response:
    """Return *body*, JSON, of which items failed, as an answer that nobody keeps: the next may be whole.

    Args:
        freshness: of the items that did not fail.
        failures: of the others.
        status: 200 if there are items that did not fail, else that of the gravest failure.
    """
    outcome = freshness.outcome
    if outcome is Outcome.HIT and any(isinstance(each, OriginError) for each in failures):
        outcome = Outcome.MISS
    response = _json(body, outcome, status)
    response.headers["Cache-Control"] = "no-store"
    waits = [seconds for each in failures if (seconds := retry_after(each)) is not None]
    if status == HTTPStatus.SERVICE_UNAVAILABLE and waits:
        response.headers["Retry-After"] = str(max(waits))
    return response


def wants_fresh() -> bool:
    """Tell whether the request refuses what is past its lifetime."""
    return request.cache_control.get("stale-if-error") == "0"


def as_asked(found: Answer[T] | Exception) -> Answer[T] | Exception:
    """Return *found*, or what to say instead if it is stale and the request wants nothing stale."""
    if isinstance(found, Answer) and found.stale and wants_fresh():
        return OriginUnavailable("the origin gave nothing fresh, and the request wants nothing stale")
    return found


def _json(body: bytes, outcome: Outcome, status: int = HTTPStatus.OK) -> Response:
    response = Response(body, status=status, mimetype="application/json")
    enabled = services_of(current_app).settings.cache_enabled
    response.headers["X-Cache"] = outcome.upper() if enabled else "BYPASS"
    return response
