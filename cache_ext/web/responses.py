"""Responses as cacheable values: status, headers and body, and nothing in them that could do harm."""

from __future__ import annotations

import re
from functools import partial
from typing import TypeVar

import flask
import msgspec
import werkzeug
from werkzeug.datastructures import Headers

from cache_ext.engine import TieredCache
from cache_ext.errors import UnsupportedValue

_R = TypeVar("_R", bound=werkzeug.Response)
_STATUS = re.compile(r"[1-5]\d\d( [\t\x20-\x7e]*)?\Z")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
"""What RFC 9110 (sections 5.1, 5.5 and 15) lets a header's name, its value and a status be."""


class _Parts(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A response as it travels."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes

    def check(self) -> None:
        """Raise ValueError if this cannot be sent: from a poisoned store it would be a way into HTTP."""
        if not _STATUS.match(self.status):
            raise ValueError(f"not a status: {self.status!r}")
        for name, value in self.headers:
            if not _NAME.match(name) or not _VALUE.match(value):
                raise ValueError(f"not a header: {name!r}")


_decoder = msgspec.msgpack.Decoder(_Parts)


def is_streamed(response: werkzeug.Response) -> bool:
    """Tell whether the body of *response* is made while it is sent."""
    return response.is_streamed or response.direct_passthrough


def register_responses(cache: TieredCache) -> None:
    """Make Flask's and Werkzeug's responses cacheable in *cache*."""
    for kind, name in ((flask.Response, "flask.Response"), (werkzeug.Response, "werkzeug.Response")):
        cache.register_type(kind, name=name, encode=encode_response, decode=partial(_decode, kind))


def encode_response(response: werkzeug.Response) -> bytes:
    """Return *response* as bytes.

    Raises:
        UnsupportedValue: it is streamed, or HTTP does not allow what is in it.
    """
    if is_streamed(response):
        raise UnsupportedValue("cannot keep a response that is streamed")
    parts = _Parts(response.status, list(response.headers), response.get_data())
    try:
        parts.check()
    except ValueError as error:
        raise UnsupportedValue(f"cannot keep this response: {error}") from error
    return msgspec.msgpack.encode(parts)


def decode_response(encoded: bytes) -> flask.Response:
    """Return the response that `encode_response` was given. Raises ValueError and msgspec's errors."""
    return _decode(flask.Response, encoded)


def _decode(kind: type[_R], encoded: bytes) -> _R:
    parts = _decoder.decode(encoded)
    parts.check()
    response = kind(parts.body, status=parts.status)
    response.headers = Headers(parts.headers)  # just these: the constructor adds some
    return response
