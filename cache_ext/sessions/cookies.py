"""How the session's cookie is called and guarded, by the way that a request came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cache_ext.addresses import is_loopback

HOST_PREFIX = "__Host-"
"""A browser takes such a cookie only if it is Secure, for this very host, and for all paths."""
SECURE_PREFIX = "__Secure-"
_ITSELF = "127.0.0.1"
_TRACES = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_REAL_IP",
           "HTTP_FORWARDED", "HTTP_VIA", "werkzeug.proxy_fix.orig")  # fmt: skip
"""What a proxy leaves in a request."""


def is_direct_loopback(environ: Mapping[str, Any]) -> bool:
    """Tell whether a request came unencrypted from this very host, over no proxy: a developer's.

    One without any peer is made up by a test: servers name one, if only as "".
    """
    if environ.get("wsgi.url_scheme") != "http" or any(trace in environ for trace in _TRACES):
        return False
    return is_loopback(environ.get("REMOTE_ADDR", _ITSELF)) and _names_this_host(environ)


def cookie_name(plain: str, secure: bool, domain: str | None, path: str) -> str:
    """Return the cookie's name with the strictest prefix that its attributes allow."""
    if not secure or plain.startswith((HOST_PREFIX, SECURE_PREFIX)):
        return plain
    return (SECURE_PREFIX if domain or path != "/" else HOST_PREFIX) + plain


def _names_this_host(environ: Mapping[str, Any]) -> bool:
    """Tell whether the client asked for this host by a name that cannot mean another."""
    try:
        name = urlsplit(f"//{environ.get('HTTP_HOST') or environ.get('SERVER_NAME') or ''}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)
