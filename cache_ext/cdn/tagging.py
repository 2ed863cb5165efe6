"""Which tags an answer depends on: those of all that was read from the cache while it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote

from cache_ext.keys import is_witness
from cache_ext.reading.frames import Frame, current_frame, loading

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

FIELD = "Surrogate-Key"
_PLAIN = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")
"""What stands for itself in a header: all of ASCII that can be seen, but what begins an escape."""


class Tagged:
    """A WSGI application around *app* whose answers say, in ``Surrogate-Key``, what tags they depend on.

    To be put right around the views, inside of whatever keeps answers: what is kept keeps the header. Tags
    that *app* names itself in that header stay. It is for those inside: `SurrogateHeaders`, further out,
    makes of it what a CDN is told.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        frame = current_frame()
        if frame is not None:  # who keeps answers has opened one, and inherits by it too
            return self._app(environ, _naming(start_response, frame))
        with loading(frozenset(), {}, {}) as frame:
            return self._app(environ, _naming(start_response, frame))


def _naming(start_response: StartResponse, frame: Frame) -> StartResponse:
    def start(status: str, headers: Headers, *exc_info: Any) -> Any:
        if frame.torn:  # its parts are of before and after an invalidation: for this client, for no cache
            return start_response(status, [*headers, ("CDN-Cache-Control", "no-store")], *exc_info)
        tags = [tag for tag in frame.inherited if not is_witness(tag)]
        named = [(FIELD, spelled(tags))] if tags else []
        return start_response(status, [*headers, *named], *exc_info)

    return start


def spelled(tags: Iterable[str]) -> str:
    """Return *tags* as one header's value: those with spaces, percent signs or beyond ASCII are escaped."""
    return " ".join(quote(tag, safe=_PLAIN) for tag in tags)


def read(value: str) -> list[str]:
    """Return the tags that a header's *value*, as `spelled` makes it, names."""
    return [unquote(tag) for tag in value.split()]
