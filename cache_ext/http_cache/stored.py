"""A stored response: ready bytes for whoever asks, and the form in which it travels."""

from __future__ import annotations

import math
import re
import sys
from contextlib import suppress
from typing import Any

import msgspec

from cache_ext.engine import TieredCache
from cache_ext.errors import ConfigurationError
from cache_ext.http_cache.codings import IDENTITY, available
from cache_ext.http_cache.conditional import opaque
from cache_ext.http_cache.fields import HOP_BY_HOP, Headers
from cache_ext.http_cache.storing import OF_ONE_ANSWER

_STATUS = re.compile(r"[1-9]\d\d( [\t\x20-\x7e]*)?\Z")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
"""What RFC 9110 (sections 5.1, 5.5 and 15) lets a field's name, its value and a status be."""
_FORBIDDEN = HOP_BY_HOP | OF_ONE_ANSWER
_NOT_OF_BODY = ("content-location", "content-security-")
_TYPE_NAME = "http.stored"
_FIELD_BYTES = 150
"""Roughly what Python takes for a field beside its text."""


class Parts(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What there is to know of a stored response; times are seconds.

    Args:
        status: with its phrase.
        headers: those that were stored, without ETag and Last-Modified.
        bodies: by coding, `IDENTITY` always among them.
        etag: of the body as it came, "" if there is none.
        own_etag: it was made here, so the application does not know it.
        last_modified: the field, "" if there is none.
        made: its Date or when it was received, Unix time.
        modified: what If-Modified-Since is compared with, Unix time.
        excess: how much older it is than the time since its load, or younger.
        stale_while_revalidate, stale_if_error: past its freshness.
        validate: never reused without asking the application.
        never_stale: not even to who would take it.
        for_all: may be given to who says who he is.
        vary, choice: what selects it, and what it was selected by.
    """

    status: str
    headers: tuple[tuple[str, str], ...]
    bodies: dict[str, bytes]
    etag: str
    own_etag: bool
    last_modified: str
    made: float
    modified: float
    excess: float
    stale_while_revalidate: float
    stale_if_error: float
    validate: bool
    never_stale: bool
    for_all: bool
    vary: tuple[str, ...]
    choice: tuple[str | None, ...]

    def check(self) -> None:
        """Raise ValueError if this cannot be sent: from a poisoned store it would be a way into HTTP."""
        times = (self.made, self.modified, self.excess, self.stale_while_revalidate, self.stale_if_error)
        if not all(map(math.isfinite, times)):
            raise ValueError("not times")
        if IDENTITY not in self.bodies or len(available(self.bodies)) < len(self.bodies):
            raise ValueError(f"not the codings of a body: {list(self.bodies)}")
        if len(self.vary) != len(self.choice):
            raise ValueError(f"not a choice of {len(self.vary)} fields")
        check_head(self.status, (*self.headers, ("ETag", self.etag), ("Last-Modified", self.last_modified)))
        for name, _ in self.headers:
            if name.lower() in _FORBIDDEN:
                raise ValueError(f"not a field of a stored response: {name!r}")


def check_head(status: str, headers: Headers) -> None:
    """Raise ValueError if HTTP does not allow such a status, or such a name or value of a field."""
    if not _STATUS.match(status):
        raise ValueError(f"not a status: {status!r}")
    for name, value in headers:
        if not _NAME.match(name) or not _VALUE.match(value):
            raise ValueError(f"not a field: {name!r}")


class Ready:
    """What is sent of one coding: all fields but those of the moment, and the body.

    Args:
        headers: with ETag, Content-Length, and so on.
        unchanged: those of a 304.
        etag: of this coding.
    """

    __slots__ = ("body", "chunks", "etag", "headers", "unchanged")

    def __init__(self, headers: list[tuple[str, str]], etag: str, body: bytes) -> None:
        length = [("Content-Length", str(len(body)))]
        self.headers = headers + length
        self.etag = etag
        self.body = body
        self.chunks = [body]
        self.unchanged = [(name, value) for name, value in headers if not _is_of_body(name, etag)]


class StoredResponse:
    """A stored response. Never changes, so that all who read it share it; what is sent is made once."""

    __slots__ = ("_available", "_ready", "code", "parts")

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.code = int(parts.status[:3])
        self._available = available(parts.bodies)
        self._ready: dict[str, Ready] = {}

    def __sizeof__(self) -> int:
        fields = sum(len(name) + len(value) + _FIELD_BYTES for name, value in self.parts.headers)
        bodies = sum(map(sys.getsizeof, self.parts.bodies.values()))
        return bodies + fields * (1 + len(self.parts.bodies))

    @property
    def codings(self) -> tuple[str, ...]:
        """The codings that there are."""
        return self._available

    def ready(self, coding: str) -> Ready:
        """Return what is sent of *coding*, one of `codings`."""
        made = self._ready.get(coding)
        if made is None:
            made = self._ready[coding] = self._make(coding)
        return made

    def _make(self, coding: str) -> Ready:
        parts, headers = self.parts, list(self.parts.headers)
        etag = etag_of(parts.etag, coding)
        if etag:
            headers.append(("ETag", etag))
        if parts.last_modified:
            headers.append(("Last-Modified", parts.last_modified))
        if coding != IDENTITY:
            headers.append(("Content-Encoding", coding))
        if len(self._available) > 1:
            headers.append(("Vary", "Accept-Encoding"))
        return Ready(headers, etag, parts.bodies[coding])


def etag_of(etag: str, coding: str) -> str:
    """Return the tag of *coding*; other bytes have another strong tag (RFC 9110, section 8.8.3.3)."""
    if coding == IDENTITY or not etag or etag != opaque(etag):
        return etag
    return f'{etag[:-1]}-{coding}"'


def _is_of_body(name: str, etag: str) -> bool:
    """Tell whether a 304 leaves the field out (RFC 9110, section 15.4.5)."""
    lowered = name.lower()
    if lowered == "last-modified":
        return etag != ""
    return lowered.startswith("content-") and not lowered.startswith(
        ("content-location", "content-security-")
    )


_encode = msgspec.msgpack.Encoder().encode
_decode: Any = msgspec.msgpack.Decoder(Parts).decode


def register_stored(cache: TieredCache) -> None:
    """Make stored responses cacheable in *cache*; a second time changes nothing."""
    with suppress(ConfigurationError):  # another door of the same cache was first
        cache.register_type(
            StoredResponse, name=_TYPE_NAME, encode=encode_stored, decode=decode_stored, shared=True
        )


def encode_stored(response: StoredResponse) -> bytes:
    """Return *response* as bytes. Raises ValueError if it cannot be sent."""
    response.parts.check()
    return _encode(response.parts)


def decode_stored(encoded: bytes) -> StoredResponse:
    """Return the response that `encode_stored` was given. Raises ValueError and msgspec's errors."""
    parts = _decode(encoded)
    parts.check()
    return StoredResponse(parts)
