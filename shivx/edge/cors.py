"""CORS by list: which pages of other origins may read answers. Source: the Fetch standard, section 3.2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Headers = list[tuple[str, str]]

ANY = "*"
PREFIX = "/api/"
"""Of the paths that other origins may ask."""
EXPOSED = (
    "Age",
    "Cache-Status",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Cache",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
)
METHODS = "GET, HEAD, POST, DELETE"
ASKED = "Authorization, Cache-Control, Content-Type, If-None-Match, X-API-Key, X-Request-ID"
"""Headers that a page may send."""
MAX_AGE = 600
"""Seconds for which a browser need not ask again; a changed list counts after that everywhere."""


class Cors:
    """Says which headers an answer to a request from another origin gets.

    A listed origin may send cookies with its requests; with ``*`` any origin may read, without cookies.

    Args:
        origins: such as ``https://example.com``, in lower case, or ``*``.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        listed = frozenset(origins)
        self._any = ANY in listed
        self._listed = listed - {ANY}

    def covers(self, environ: Mapping[str, Any]) -> bool:
        """Tell whether the path is one of which other origins may know anything."""
        return bool(self._any or self._listed) and environ.get("PATH_INFO", "").startswith(PREFIX)

    def add_headers(self, environ: Mapping[str, Any], headers: Headers) -> None:
        """Add to *headers* what the request's origin may do with the answer; nothing if it may nothing."""
        if not self.covers(environ):
            return
        if self._listed:  # else all get the same, and caches may keep one answer for all
            _vary(headers, "Origin")
        if self._allow(environ, headers):
            headers.append(("Access-Control-Expose-Headers", ", ".join(EXPOSED)))

    def preflight(self, environ: Mapping[str, Any]) -> Headers | None:
        """Return the headers of the answer (204) if the request is a preflight, else None."""
        asks = environ.get("REQUEST_METHOD") == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        if not asks or "HTTP_ORIGIN" not in environ or not self.covers(environ):
            return None
        headers: Headers = []
        for name in ("Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"):
            _vary(headers, name)
        if self._allow(environ, headers):
            headers += [
                ("Access-Control-Allow-Methods", METHODS),
                ("Access-Control-Allow-Headers", ASKED),
                ("Access-Control-Max-Age", str(MAX_AGE)),
            ]
        return headers

    def _allow(self, environ: Mapping[str, Any], headers: Headers) -> bool:
        origin = environ.get("HTTP_ORIGIN")
        if origin in self._listed:
            headers.append(("Access-Control-Allow-Origin", origin))
            headers.append(("Access-Control-Allow-Credentials", "true"))
            return True
        if self._any and origin is not None:
            headers.append(("Access-Control-Allow-Origin", ANY))
            return True
        return False


def _vary(headers: Headers, name: str) -> None:
    """Add *name* to the one Vary header."""
    for position, (known, value) in enumerate(headers):
        if known.lower() == "vary":
            if name.lower() not in {part.strip().lower() for part in value.split(",")} | {ANY}:
                headers[position] = (known, f"{value}, {name}")
            return
    headers.append(("Vary", name))
