"""The id of a request: in the WSGI environment, in every answer, and in every log line that it causes."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar, Token
from typing import Any

REQUEST_ID = "shivx.request_id"
"""Where the WSGI environment has it."""
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_under_way: ContextVar[list[str] | None] = ContextVar("shivx_request_id", default=None)


def take_request_id(environ: dict[str, Any]) -> str:
    """Put the request's id, X-Request-ID if it is a plain one, else one made, into *environ*; return it."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    found: str = given if _ACCEPTABLE.fullmatch(given) else os.urandom(16).hex()
    environ[REQUEST_ID] = found
    return found


def current_request_id() -> str | None:
    """Return the id of the request that this thread or greenlet works for, None if for none."""
    box = _under_way.get()
    return box[0] if box else None


class following:  # noqa: N801 (read as: with following(request_id))
    """Let log lines inside the with block carry *request_id*, and none after it.

    A greenlet or task begun inside keeps a copy of the context: what it holds is emptied at the end, so that
    what lives on does not speak for a request that is over.
    """

    __slots__ = ("_box", "_token")

    def __init__(self, request_id: str) -> None:
        self._box = [request_id]
        self._token: Token[list[str] | None] | None = None

    def __enter__(self) -> None:
        self._token = _under_way.set(self._box)

    def __exit__(self, *_: object) -> None:
        self._box.clear()
        if self._token is not None:
            _under_way.reset(self._token)
