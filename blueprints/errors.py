"""Errors as answers: handlers that turn each into a problem document, and a page for each kind."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from blueprints.parameters import require_utf8
from blueprints.problems import KINDS, MAPPED_ERRORS, problem, retry_after
from shivx.errors import Refused, UnknownPair

PAGE_MAX_AGE = 86_400
"""Seconds; the pages change only with the program."""
CHALLENGE = 'Bearer realm="ShivX"'
"""What a 401 says of how to come in (RFC 9110, section 11.6.1)."""
PROBLEM_TYPE = "application/problem+json"


def register_error_handlers(app: Flask) -> None:
    """Make every error that leaves a view of *app* a problem document, and serve ``/problems/{code}``.

    Errors that are neither an HTTPException nor mapped stay Flask's: it logs them with their traceback,
    and what it then raises is answered here, as a 500 that tells nothing.
    """
    for kind in MAPPED_ERRORS:
        app.register_error_handler(kind, _answer_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.before_request(_refuse_undecodable)
    app.register_blueprint(_pages())


def problem_response(document: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    """Return *document* (see `blueprints.problems`) as an answer that nobody may store."""
    status = document["status"]
    response = Response(json.dumps(document), content_type=PROBLEM_TYPE)
    response.status_code = status if isinstance(status, int) else 500
    response.headers.update(headers or {})
    response.headers["Cache-Control"] = "no-store"
    return response


def answer_outside(error: Exception) -> Response:
    """Return the answer to *error*, which ends a request before it comes to any view."""
    return problem_response(problem(error), _headers(error))


def _answer_error(error: Exception) -> Response:
    in_list = isinstance(error, UnknownPair) and "pair" not in (request.view_args or {})
    return problem_response(problem(error, "pairs" if in_list else None), _headers(error))


def _headers(error: Exception) -> dict[str, str]:
    """Return what goes with the answer to *error*."""
    seconds = retry_after(error)
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    if isinstance(error, Refused):
        headers["WWW-Authenticate"] = CHALLENGE
    return headers


def _answer_http_exception(error: HTTPException) -> HTTPException | WerkzeugResponse:
    if error.code is None or error.code < 400:
        return error  # a redirect
    if error.response is not None:
        return error.get_response()  # somebody made the answer
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    if error.code == 503:
        headers.setdefault("Retry-After", "1")
    return problem_response(problem(error), headers)


def _refuse_undecodable() -> None:
    require_utf8(request.environ)


def _pages() -> Blueprint:
    pages = Blueprint("problems", __name__, url_prefix="/problems")

    @pages.get("/<code>")
    def explain_problem(code: str) -> Response:
        """Say in plain words what a problem type means: its URI leads here."""
        if code not in KINDS:
            raise NotFound(f"There is no problem type {code!r}.")
        kind = KINDS[code]
        page = Response(f"{kind.title} ({kind.status})\n\n{kind.description}\n", mimetype="text/plain")
        page.cache_control.public = True
        page.cache_control.max_age = PAGE_MAX_AGE
        return page

    return pages
