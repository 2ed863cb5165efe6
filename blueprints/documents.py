"""What the API is, for programs: ``/openapi.json``."""

from __future__ import annotations

import threading

from flask import Blueprint, Response, current_app, request

from blueprints.openapi.document import document_of

MAX_AGE = 300
"""Seconds; it changes with the program and its settings."""
_MADE = "shivx_openapi"
documents = Blueprint("documents", __name__)
_making = threading.Lock()


@documents.get("/openapi.json")
def openapi() -> Response:
    """Return this document."""
    with _making:
        made: bytes | None = current_app.extensions.get(_MADE)
        if made is None:
            made = current_app.extensions[_MADE] = document_of(current_app)
    response = Response(made, content_type="application/json")
    response.cache_control.public = True
    response.cache_control.max_age = MAX_AGE
    response.add_etag()
    response.make_conditional(request)
    return response
