"""The outermost layer behind the proxies: whatever answers, its answer leaves through here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from shivx.edge.cors import Cors, Headers
from shivx.edge.security import add_security_headers
from shivx.request_ids import following, take_request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

Denied = Callable[[dict[str, Any], int], None]
"""Is told of each answer that denies: the environment and the status."""
_DENIALS = {"401": 401, "403": 403, "429": 429}


class Envelope:
    """WSGI middleware: the request's id, headers that protect, CORS, and a note of what was denied.

    All denials end here, whoever decides: the gate, a view, the check against cross-site requests.

    Args:
        app: what answers.
        denied: what to do about a denial.
        figures: returns what the answer to a preflight tells of the limit.
    """

    def __init__(
        self,
        app: WSGIApplication,
        cors: Cors,
        denied: Denied,
        figures: Callable[[dict[str, Any]], Headers] = lambda environ: [],
    ) -> None:
        self._app = app
        self._cors = cors
        self._denied = denied
        self._figures = figures

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer the request of *environ*."""
        request_id = take_request_id(environ)

        def start(status: str, headers: Headers, *exc_info: Any) -> Any:
            code = _DENIALS.get(status[:3])
            if code is not None:
                self._denied(environ, code)
            headers.append(("X-Request-ID", request_id))
            add_security_headers(environ, headers)
            self._cors.add_headers(environ, headers)
            return start_response(status, headers, *exc_info)

        with following(request_id):
            preflight = self._cors.preflight(environ)
            if preflight is None:
                return self._app(environ, start)
            preflight += [*self._figures(environ), ("X-Request-ID", request_id)]
            add_security_headers(environ, preflight)
            start_response("204 No Content", preflight)
            return []
