"""What every request and answer carries: an id by which it can be found in the logs."""

from __future__ import annotations

import re
import uuid

from flask import Flask, Response, g, request

HEADER = "X-Request-ID"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,128}")


def request_id() -> str:
    """Return the id of the request under way: the caller's if it is a plain one, else one made here."""
    if "request_id" not in g:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _ACCEPTABLE.fullmatch(given) else uuid.uuid4().hex
    found: str = g.request_id
    return found


def follow_requests(app: Flask) -> None:
    """Let every answer of *app*, errors included, carry the request's id."""

    @app.after_request
    def tell(response: Response) -> Response:
        response.headers[HEADER] = request_id()
        return response
