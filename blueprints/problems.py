"""Problem details: every kind of error that a client can get, in one table, and how errors map to it.

Source: RFC 9457.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from werkzeug.exceptions import HTTPException

from cache_ext.errors import StoreUnavailable
from shivx.errors import (
    AuditUnavailable,
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    InvalidParameter,
    InvalidRequest,
    ModelUnavailable,
    NotCached,
    NotComputable,
    NotFound,
    OriginError,
    OriginInvalid,
    Refused,
    TooManyRequests,
    UnknownJob,
    UnknownModel,
    UnknownPair,
    UnknownSource,
    UnknownToken,
)

MAX_RETRY_AFTER = 3600
"""Seconds; nobody knows more of an exchange than that it should be asked again within the hour."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: its HTTP status, its title, and what its page says."""

    status: int
    title: str
    description: str


KINDS: Mapping[str, Kind] = {
    "invalid_request": Kind(
        400,
        "Invalid request",
        "Something in the request cannot be read or is out of range. `errors` names every parameter that is"
        " wrong and the rule it breaks; asking again unchanged gives the same answer.",
    ),
    "unauthenticated": Kind(401, "Not authenticated", "This needs a valid API key or session."),
    "forbidden": Kind(403, "Forbidden", "The key or session is valid, and may not do this."),
    "not_found": Kind(404, "Not found", "There is no such resource or route."),
    "unknown_pair": Kind(
        404,
        "Unknown pair",
        "The source does not trade this pair. GET /api/market/pairs lists those that it does.",
    ),
    "unknown_token": Kind(404, "Unknown token", "The source does not know this token symbol."),
    "unknown_model": Kind(404, "Unknown model", "There is no such model. GET /api/ml/models lists those."),
    "unknown_job": Kind(404, "Unknown job", "There is no such job, or it was over more than a day ago."),
    "method_not_allowed": Kind(
        405, "Method not allowed", "The route exists, not with this method; the Allow header lists those."
    ),
    "conflict": Kind(409, "Conflict", "Something that is already there or under way forbids this."),
    "content_too_large": Kind(413, "Content too large", "The body is larger than this route takes."),
    "unsupported_media_type": Kind(415, "Unsupported media type", "The body is to be application/json."),
    "not_computable": Kind(
        422,
        "Not computable",
        "The request is valid, and this source's data does not suffice to answer it: too little history,"
        " or a timeframe that cannot be built.",
    ),
    "rate_limited": Kind(
        429,
        "Too many requests",
        "The limit for your tier is used up. Retry-After says how many seconds to wait.",
    ),
    "internal_error": Kind(500, "Internal error", "A bug in the service. It has been logged."),
    "origin_invalid": Kind(
        502,
        "Invalid answer from the exchange",
        "The exchange answered with something that is not market data.",
    ),
    "origin_unavailable": Kind(
        503,
        "Exchange unavailable",
        "The exchange is down, too slow or limiting us, and nothing that is kept may be served instead."
        " Retry-After says when to ask again.",
    ),
    "unavailable": Kind(
        503,
        "Temporarily unavailable",
        "A part of the service that this needs is down. Retry-After says when to ask again.",
    ),
    "model_unavailable": Kind(
        503,
        "Model unavailable",
        "The model has no version that can answer yet: it is being trained, or was damaged."
        " Retry-After says when to ask again.",
    ),
    "not_cached": Kind(504, "Not in the cache", "The request said only-if-cached, and there was nothing."),
}

_BY_ERROR: Mapping[type[Exception], str] = {
    InvalidParameter: "invalid_request",
    InvalidRequest: "invalid_request",
    UnknownSource: "invalid_request",
    UnknownPair: "unknown_pair",
    UnknownToken: "unknown_token",
    UnknownModel: "unknown_model",
    UnknownJob: "unknown_job",
    NotFound: "not_found",
    NotComputable: "not_computable",
    Refused: "unauthenticated",
    Forbidden: "forbidden",
    Conflict: "conflict",
    ModelUnavailable: "model_unavailable",
    DatabaseUnavailable: "unavailable",
    AuditUnavailable: "unavailable",
    OriginInvalid: "origin_invalid",
    OriginError: "origin_unavailable",
    StoreUnavailable: "unavailable",
    TooManyRequests: "rate_limited",
    NotCached: "not_cached",
}
MAPPED_ERRORS = tuple(_BY_ERROR)
"""Errors that have a problem of their own. Any other exception is a bug: a 500."""

_OF_SOME_ROUTES = frozenset(
    {
        "unknown_pair",
        "unknown_token",
        "unknown_model",
        "unknown_job",
        "origin_unavailable",
        "model_unavailable",
    }
)
_BY_STATUS: Mapping[int, str] = {
    kind.status: code for code, kind in KINDS.items() if code not in _OF_SOME_ROUTES
}
_PARAMETERS = {
    UnknownPair: "pair",
    UnknownToken: "symbol",
    UnknownSource: "source",
    UnknownModel: "model",
    UnknownJob: "job",
}


def problem(error: Exception, parameter: str | None = None) -> dict[str, object]:
    """Return the problem document for *error*, for an answer or an item of a batch.

    Args:
        error: anything; what is neither a mapped error nor an HTTPException becomes a 500 that tells nothing.
        parameter: which parameter named what does not exist, if not ``pair``, ``symbol`` or ``source``.
    """
    if isinstance(error, HTTPException) and error.code is not None:
        return _of_http_exception(error, error.code)
    code = _code(error)
    if code == "internal_error":
        return document(code)
    if code == "unavailable":
        return document(code, KINDS[code].description)  # the error's own text is about our servers
    return document(code, str(error), _parameter_errors(error, parameter))


def document(
    code: str, detail: str | None = None, errors: Iterable[InvalidParameter] = (), status: int | None = None
) -> dict[str, object]:
    """Return the problem document for one of `KINDS`, whose description is the detail if none is given.

    Raises:
        KeyError: there is no such kind.
    """
    kind = KINDS[code]
    return {
        "type": f"/problems/{code}",
        "title": kind.title,
        "status": kind.status if status is None else status,
        "detail": detail or kind.description,
        "code": code,
        "errors": [
            {"parameter": error.parameter, "code": error.code, "detail": error.message} for error in errors
        ],
    }


def retry_after(error: Exception) -> int | None:
    """Return the Retry-After that goes with *error*: whole seconds, 1 to `MAX_RETRY_AFTER`; None for most."""
    status = KINDS[_code(error)].status
    if status not in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        return None
    seconds = getattr(error, "retry_after", 1.0)
    if seconds is None:
        return None
    return min(max(math.ceil(seconds), 1), MAX_RETRY_AFTER) if math.isfinite(seconds) else MAX_RETRY_AFTER


def batch_status(succeeded: int, problems: Iterable[Mapping[str, object]]) -> int:
    """Return the status of a batch: 200 if any item *succeeded*, else the gravest of its *problems*."""
    statuses = [status for each in problems if isinstance(status := each["status"], int)]
    return HTTPStatus.OK if succeeded or not statuses else max(statuses)


def _code(error: Exception) -> str:
    return next((_BY_ERROR[cls] for cls in type(error).__mro__ if cls in _BY_ERROR), "internal_error")


def _of_http_exception(error: HTTPException, status: int) -> dict[str, object]:
    code = _BY_STATUS.get(status, "invalid_request" if status < 500 else "internal_error")
    if code == "internal_error":
        return document(code, status=status)
    return document(code, error.description, status=status)


def _parameter_errors(error: Exception, parameter: str | None) -> Iterable[InvalidParameter]:
    if isinstance(error, InvalidRequest):
        return error.errors
    if isinstance(error, InvalidParameter):
        return (error,)
    for cls, usual in _PARAMETERS.items():
        if isinstance(error, cls):
            return (InvalidParameter(parameter or usual, f"unknown_{usual}", str(error)),)
    return ()
