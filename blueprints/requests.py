"""What every request and answer carries: an id by which it can be found in the logs."""

from __future__ import annotations

import re
import uuid

from flask import Flask, Response, g, request

HEADER = "X-Request-ID"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,128}")


def follow_requests(app: Flask) -> None:
    """Keep the caller's ``X-Request-ID`` if it is a plain one, else make one, and answer with it."""

    @app.before_request
    def note() -> None:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _ACCEPTABLE.fullmatch(given) else uuid.uuid4().hex

    @app.after_request
    def tell(response: Response) -> Response:
        response.headers[HEADER] = g.get("request_id") or uuid.uuid4().hex
        return response
