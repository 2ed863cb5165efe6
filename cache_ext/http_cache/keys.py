"""The name under which the responses of one URL lie: the URL exactly as the application sees it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

_REMEMBERED = 8_192
"""URLs whose names are kept at hand."""
_LONGEST_KNOWN = 1_024
"""Characters of a URL above which its name is not kept at hand."""
_LONGEST_READABLE = 300
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@-]*\Z")
_PLAIN_QUERY = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@?%-]*\Z")
_PLAIN_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]+\Z")


class Place(NamedTuple):
    """Where the responses of one URL lie.

    Args:
        key: of the engine.
        tag: carried by all of them, whichever request field selects them.
    """

    key: str
    tag: str


class Places:
    """The places of URLs, those asked for of late at hand."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str, str, str], Place] = {}

    def of(self, environ: Mapping[str, Any]) -> Place:
        """Return the place of the URL of a request: scheme, host, path and query, each as it came.

        An application that looks at anything else, at ``RAW_URI`` say, sees what is no part of this.
        """
        url = (
            environ["wsgi.url_scheme"],
            host_of(environ),
            environ.get("SCRIPT_NAME", ""),
            environ.get("PATH_INFO", ""),
            environ.get("QUERY_STRING", ""),
        )
        place = self._known.get(url)
        if place is None:
            place = _place(url)
            if sum(map(len, url)) <= _LONGEST_KNOWN:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[url] = place
        return place

    def named(self, environ: Mapping[str, Any], reference: str) -> Place | None:
        """Return the place of the URL that *reference*, in a Location field, leads to.

        None if it is of another origin, where nobody here has a say (RFC 9111, section 4.4).
        """
        scheme, host = environ["wsgi.url_scheme"], host_of(environ)
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        try:
            target = urlsplit(urljoin(f"{scheme}://{host}{path}", reference))
        except ValueError:
            return None
        if (target.scheme, target.netloc.lower()) != (scheme, host.lower()):
            return None
        root, asked = environ.get("SCRIPT_NAME", ""), unquote_to_bytes(target.path or "/").decode("latin-1")
        if not asked.startswith(root):
            return None
        return _place((scheme, host, root, asked.removeprefix(root), target.query))


def host_of(environ: Mapping[str, Any]) -> str:
    """Return the host of a request as applications build URLs with it."""
    host: str = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME')}:{environ.get('SERVER_PORT')}"
    return host


def _place(url: tuple[str, str, str, str, str]) -> Place:
    scheme, host, root, path, query = url
    readable = _PLAIN_HOST.match(host) and _PLAIN_PATH.match(root + path) and _PLAIN_QUERY.match(query)
    name = f"{scheme}://{host}{root}{'|' if root else ''}{path}{'?' if query else ''}{query}"
    if not readable or len(name) > _LONGEST_READABLE:
        name = "~" + hashlib.sha256(repr(url).encode("utf-8", "surrogatepass")).hexdigest()
    return Place(f"http:{{{name}}}", f"url:{{{name}}}")
