"""What a CDN is told about each answer: what it is called, and for how long it may be kept.

Sources: RFC 9213 for ``CDN-Cache-Control``; W3C Edge Architecture Specification for ``Surrogate-Control``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from cache_ext.cdn.names import SurrogateNames
from cache_ext.cdn.tagging import FIELD, Application, Environ, Headers, StartResponse, read

_KEPT = frozenset({"200", "203", "204", "301", "304", "308", "404", "410"})
_OURS = frozenset({"surrogate-key", "surrogate-control", "cdn-cache-control"})
_FORBIDS = frozenset({"private", "no-store", "no-cache", "must-understand"})
_STALE = ("stale-while-revalidate", "stale-if-error")
_MOST_SECONDS = 2**31
_NOT_KEPT: Headers = [("CDN-Cache-Control", "no-store"), ("Surrogate-Control", "no-store")]


class _Permission(NamedTuple):
    """What ``Cache-Control`` lets a CDN do: keep the answer until it is *lifetime* seconds old, as *told*."""

    lifetime: int
    told: str


class SurrogateHeaders:
    """A WSGI application around *app* that tells a CDN what to do with its answers.

    Kept may be what is ``public`` and still fresh, sets no cookie and is the same for all requests of its
    Vary; all else is ``no-store``, errors without a lifetime too, which some CDNs would keep.
    ``Cache-Control`` itself, for clients, stays as it is.

    Args:
        app: its ``Surrogate-Key`` names tags, as `Tagged` writes it.
        names: what these are called.
        also: returns further tags of the answers to the request of an environment.
    """

    def __init__(
        self,
        app: Application,
        names: SurrogateNames,
        also: Callable[[Environ], tuple[str, ...]] = lambda environ: (),
    ) -> None:
        self._app = app
        self._also = also
        self._header = lru_cache(1024)(lambda value, more: names.header([*read(value), *more]))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""

        def start(status: str, headers: Headers, *exc_info: Any) -> Any:
            return start_response(status, self._told(environ, status, headers), *exc_info)

        return self._app(environ, start)

    def _told(self, environ: Environ, status: str, headers: Headers) -> Headers:
        said: dict[str, str] = {}
        for name, value in headers:
            lower = name.lower()
            said[lower] = f"{said[lower]}, {value}" if lower in said else value
        kept = [field for field in headers if field[0].lower() not in _OURS]
        permission = _permission(said.get("cache-control", ""))
        if permission is None or not _is_for_all(status, said) or _age(said) >= permission.lifetime:
            return kept + _NOT_KEPT
        tags = " ".join(value for name, value in headers if name.lower() == "surrogate-key")
        return [
            *kept,
            (FIELD, self._header(tags, self._also(environ))),
            ("CDN-Cache-Control", permission.told),
            ("Surrogate-Control", permission.told),
        ]


def _is_for_all(status: str, said: dict[str, str]) -> bool:
    """Tell whether an answer of *status* that has said this may be given to others."""
    if status[:3] not in _KEPT or "set-cookie" in said or "*" in said.get("vary", ""):
        return False
    return "no-store" not in said.get("cdn-cache-control", "")


def _age(said: dict[str, str]) -> int:
    age = said.get("age", "0").strip()
    return int(age) if age.isdecimal() and len(age) < len(str(_MOST_SECONDS)) else _MOST_SECONDS


@lru_cache(1024)
def _permission(cache_control: str) -> _Permission | None:
    """Return what ``Cache-Control`` permits; None if it permits nothing, or says something odd."""
    directives: dict[str, str] = {}
    for part in cache_control.lower().split(","):
        name, _, value = part.partition("=")
        if directives.setdefault(name.strip(), value.strip().strip('"')) != value.strip().strip('"'):
            return None
    lifetime = _seconds(directives.get("s-maxage", directives.get("max-age", "")))
    if lifetime is None or "public" not in directives or not _FORBIDS.isdisjoint(directives):
        return None
    told = [f"max-age={lifetime}"]
    for name in _STALE:
        if (seconds := _seconds(directives.get(name, ""))) is not None:
            told.append(f"{name}={seconds}")
    return _Permission(lifetime, ", ".join(told))


def _seconds(text: str) -> int | None:
    if not (text.isascii() and text.isdecimal()) or len(text) >= len(str(_MOST_SECONDS)):
        return None
    return int(text)
