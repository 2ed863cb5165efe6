"""Headers that tell browsers what not to do with an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Headers = list[tuple[str, str]]

HSTS_SECONDS = 31_536_000
"""A year: what browsers' preload lists ask for."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Of a page: what it needs comes from here, and nothing written inside it runs."""
OTHER_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Of anything else, which is no page: should a browser take it for one, it loads and runs nothing."""

_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
)
_HSTS = ("Strict-Transport-Security", f"max-age={HSTS_SECONDS}")


def add_security_headers(environ: Mapping[str, Any], headers: Headers) -> None:
    """Add to *headers* what is not in them yet.

    HSTS only to what came over TLS, as the trusted proxies say (RFC 6797, section 7.2).
    """
    known = {name.lower(): value for name, value in headers}
    for name, value in _ALWAYS:
        if name.lower() not in known:
            headers.append((name, value))
    if "content-security-policy" not in known:
        is_page = known.get("content-type", "").startswith("text/html")
        headers.append(("Content-Security-Policy", PAGE_POLICY if is_page else OTHER_POLICY))
    if environ.get("wsgi.url_scheme") == "https" and _HSTS[0].lower() not in known:
        headers.append(_HSTS)
