"""Vary: which request fields select among the stored responses of one URL. Source: RFC 9111, section 4.1."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from cache_ext.http_cache.codings import weights
from cache_ext.http_cache.fields import Headers, joined, list_parts

Choice = tuple[str | None, ...]
"""What a request says in each selecting field, normalised; None where it says nothing."""

_CASELESS = frozenset({"accept-language", "accept-charset"})


def vary_names(headers: Headers) -> tuple[str, ...]:
    """Return the fields that Vary names, lower-case and sorted, so that their order changes nothing."""
    return tuple(sorted({part.lower() for part in list_parts(joined(headers, "vary") or "")}))


def choice_of(environ: Mapping[str, Any], names: tuple[str, ...]) -> Choice:
    """Return what the request says in the fields *names*, so that what means the same is the same."""
    return tuple(_normalised(name, environ.get(environ_name(name))) for name in names)


def environ_name(name: str) -> str:
    """Return where the WSGI environment has the request's field *name*."""
    plain = name.upper().replace("-", "_")
    return plain if plain in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + plain


def digest_of(names: tuple[str, ...], choice: Choice) -> str:
    """Return a short name for *choice*; hashed, since there may be a cookie in it."""
    return hashlib.sha256(repr((names, choice)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _normalised(name: str, value: str | None) -> str | None:
    if value is None:
        return None
    if name == "accept-encoding":
        return ",".join(f"{coding}={weight:g}" for coding, weight in weights(value))
    members = ",".join(" ".join(part.split()) for part in value.split(","))
    return members.lower() if name in _CASELESS else members
