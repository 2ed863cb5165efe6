"""From what is stored to what one client gets: its coding, 304, a range, HEAD, and Age."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cache_ext.http_cache.codings import IDENTITY, best_coding
from cache_ext.http_cache.conditional import is_current, range_applies
from cache_ext.http_cache.ranges import Unsatisfiable, byte_range
from cache_ext.http_cache.recording import Environ, StartResponse
from cache_ext.http_cache.stored import Ready, StoredResponse

Fields = list[tuple[str, str]]

_ROUNDING = 0.001
"""Times go through whole milliseconds: what is this much short of a second is one."""
_SPECIAL = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE")


def answer_stored(
    environ: Environ, start_response: StartResponse, stored: StoredResponse, moment: Fields
) -> Iterable[bytes]:
    """Answer a GET or HEAD with *stored*.

    Args:
        moment: Age and what else is told of this answer alone.
    """
    codings = stored.codings
    accepted = environ.get("HTTP_ACCEPT_ENCODING", "")
    coding = IDENTITY if len(codings) == 1 else best_coding(accepted, codings)
    ready = stored.ready(coding)
    if stored.code == 200:
        for name in _SPECIAL:
            if name in environ:
                return _answer_special(environ, start_response, stored, ready, moment)
    start_response(stored.parts.status, ready.headers + moment)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else ready.chunks


def age_of(seconds: float) -> str:
    """Return *seconds* as Age has them (RFC 9111, section 5.1)."""
    return str(max(0, int(seconds + _ROUNDING)))


def _answer_special(
    environ: Environ, start_response: StartResponse, stored: StoredResponse, ready: Ready, moment: Fields
) -> Iterable[bytes]:
    """Answer a conditional request, or one for a range, in the order of RFC 9110, section 13.2.2."""
    if is_current(environ, ready.etag, stored.parts.modified):
        start_response("304 Not Modified", ready.unchanged + moment)
        return []
    if environ["REQUEST_METHOD"] == "HEAD":
        start_response(stored.parts.status, ready.headers + moment)
        return []
    if (wanted := environ.get("HTTP_RANGE")) is not None:
        return _answer_range(environ, start_response, stored, ready, wanted, moment)
    start_response(stored.parts.status, ready.headers + moment)
    return ready.chunks


def _answer_range(
    environ: Environ,
    start_response: StartResponse,
    stored: StoredResponse,
    ready: Ready,
    wanted: str,
    moment: Fields,
) -> Iterable[bytes]:
    """Answer with a part of the body as the application gave it, or with all of what the client accepts."""
    plain, parts = stored.ready(IDENTITY), stored.parts
    size = len(plain.body)
    if_range: Any = environ.get("HTTP_IF_RANGE")
    bounds = None
    if range_applies(if_range, plain.etag, parts.last_modified, parts.made):
        try:
            bounds = byte_range(wanted, size)
        except Unsatisfiable:
            told = [("Content-Range", f"bytes */{size}"), ("Content-Type", "text/plain")]
            start_response("416 Range Not Satisfiable", [*told, ("Content-Length", "0"), *moment])
            return []
    if bounds is None:
        start_response(parts.status, ready.headers + moment)
        return ready.chunks
    start, stop = bounds
    headers = [field for field in plain.headers if field[0] != "Content-Length"]
    headers += [("Content-Range", f"bytes {start}-{stop - 1}/{size}"), ("Content-Length", str(stop - start))]
    start_response("206 Partial Content", headers + moment)
    return [plain.body[start:stop]]
