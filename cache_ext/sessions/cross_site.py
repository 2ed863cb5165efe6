"""Telling requests that another site made a browser send: those must not act in its user's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""They change nothing (RFC 9110, section 9.2.1)."""
_OWN = frozenset({"same-origin", "none"})
_PORTS = {"http": 80, "https": 443}


def is_cross_site(environ: Mapping[str, Any]) -> bool:
    """Tell whether an unsafe request comes from a page that is not ours.

    Browsers say so, in Sec-Fetch-Site, in Origin, or in both; what has neither is no browser. Another port
    or a sibling of our name is another origin.

    Source: Fetch Metadata Request Headers, W3C; RFC 6454.
    """
    if environ.get("REQUEST_METHOD", "GET").upper() in SAFE_METHODS:
        return False
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    if site is not None and site.strip().lower() not in _OWN:
        return True
    return origin is not None and not _is_host(origin, environ)


def _is_host(origin: str, environ: Mapping[str, Any]) -> bool:
    """Tell whether *origin* is the host that the request was sent to. Behind TLS, only with TLS."""
    ours = environ.get("wsgi.url_scheme", "http")
    found, theirs = _place(origin.strip()), None
    if found is not None and found[0] in _PORTS and (ours != "https" or found[0] == "https"):
        host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME')}:{environ.get('SERVER_PORT')}"
        theirs = _place(f"{found[0]}://{host}")
    return theirs is not None and found == theirs


def _place(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of a URL that has nothing else, None for another."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or _PORTS.get(parts.scheme)
