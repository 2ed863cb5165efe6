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

_Fields = tuple[tuple[str, tuple[str, str]], ...]


def _by_name(**fields: str) -> _Fields:
    """Return the fields, each with its name in lower case."""
    named = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return tuple((name.lower(), (name, value)) for name, value in named)


_NO_PAGE = _by_name(X_Content_Type_Options="nosniff", Content_Security_Policy=OTHER_POLICY)
_PAGE = _by_name(
    X_Content_Type_Options="nosniff",
    Content_Security_Policy=PAGE_POLICY,
    Referrer_Policy="no-referrer",
    X_Frame_Options="DENY",
)
_SECURE = _by_name(Strict_Transport_Security=f"max-age={HSTS_SECONDS}")


def add_security_headers(environ: Mapping[str, Any], headers: Headers) -> None:
    """Add to *headers* what is not in them yet.

    HSTS only to what came over TLS, as the trusted proxies say (RFC 6797, section 7.2).
    """
    known = {name.lower(): value for name, value in headers}
    is_page = known.get("content-type", "").startswith("text/html")
    for name, field in _PAGE if is_page else _NO_PAGE:
        if name not in known:
            headers.append(field)
    if environ.get("wsgi.url_scheme") == "https":
        headers += [field for name, field in _SECURE if name not in known]
