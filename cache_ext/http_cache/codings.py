"""Content codings: which a client gets, and how they are made. Source: RFC 9110, section 12.5.3."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Callable, Collection
from functools import lru_cache

from cache_ext.http_cache.fields import list_parts

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

try:  # an extra: without it there is gzip and zstd
    import brotli
except ImportError:
    brotli = None

IDENTITY = ""
"""The name of a body as the application gave it."""
PREFERRED = ("br", "zstd", "gzip")
"""Ours, where the client has no preference: the smallest first."""
LEAST_BYTES = 512
"""Smaller bodies gain less than the field costs."""
_WORTH = 0.95
"""A coding that leaves more than this share of the size is not kept."""
_GZIP_LEVEL, _BROTLI_QUALITY, _ZSTD_LEVEL = 6, 5, 6
_WEIGHT = re.compile(r"[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*\Z")
_TEXT = re.compile(
    r"(?:text/|application/(?:[\w.+-]+\+)?(?:json|xml|javascript|ndjson|x-ndjson|wasm|problem\+json)|image/svg\+xml)",
    re.IGNORECASE,
)

_MAKERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda body: zstd.compress(body, _ZSTD_LEVEL),
    "gzip": lambda body: gzip.compress(body, _GZIP_LEVEL, mtime=0),  # the same bytes for the same body
}
if brotli is not None:
    _MAKERS["br"] = lambda body: brotli.compress(body, quality=_BROTLI_QUALITY)


def encode_all(body: bytes) -> dict[str, bytes]:
    """Return *body* by coding: itself, and each coding that makes it smaller."""
    bodies = {IDENTITY: body}
    if len(body) >= LEAST_BYTES:
        for name in PREFERRED:
            if name in _MAKERS and len(made := _MAKERS[name](body)) <= _WORTH * len(body):
                bodies[name] = made
    return bodies


def is_text(content_type: str) -> bool:
    """Tell whether a body of *content_type* is worth compressing."""
    return _TEXT.match(content_type) is not None


@lru_cache(1024)
def weights(accept_encoding: str) -> tuple[tuple[str, float], ...]:
    """Return the codings that a client names and how much it wants each, 0 to 1, sorted by name."""
    found: dict[str, float] = {}
    for part in list_parts(accept_encoding):
        name, semicolon, _ = part.partition(";")
        weight = _WEIGHT.match(part[len(name) :]) if semicolon else None
        if semicolon and weight is None:
            continue  # unreadable: as if it were not there
        found[name.strip().lower()] = float(weight[1]) if weight else 1.0
    return tuple(sorted(found.items()))


@lru_cache(1024)
def best_coding(accept_encoding: str, available: tuple[str, ...]) -> str:
    """Return which of the codings *available*, `IDENTITY` among them, to send.

    Args:
        available: ours, as `PREFERRED` orders them.
    """
    wanted = dict(weights(accept_encoding))
    rest = wanted.get("*", 0.0)
    plain = wanted.get("identity", rest if "*" in wanted and rest == 0 else 0.0001)
    best, weight = IDENTITY, plain
    for name in reversed(PREFERRED):
        value = wanted.get(name, wanted.get("x-" + name, rest))
        if name in available and value > 0 and value >= weight:
            best, weight = name, value
    return best


def available(bodies: Collection[str]) -> tuple[str, ...]:
    """Return the codings in *bodies* as `best_coding` wants them."""
    return tuple(name for name in (*PREFERRED, IDENTITY) if name in bodies)
