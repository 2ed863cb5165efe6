"""Bodies of requests: what is too large is not read, what is nested too deeply stops nobody."""

from __future__ import annotations

import io

import pytest
from flask import Request
from msgspec import Struct
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.test import EnvironBuilder

from blueprints.bodies import read_json
from shivx.errors import InvalidRequest


class Body(Struct):
    """A body that may have fields which nobody knows."""

    name: str


class Counted(io.BytesIO):
    """A stream that counts what is read from it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        """Return some of it."""
        part = super().read(size)
        self.taken += len(part)
        return part


def request(stream: io.BytesIO, length: int | None) -> Request:
    """Return a request with a body of JSON; without a length it comes in chunks."""
    builder = EnvironBuilder(method="POST", input_stream=stream, content_type="application/json")
    environ = builder.get_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ |= {"wsgi.input_terminated": True} if length is None else {"CONTENT_LENGTH": str(length)}
    return Request(environ)


@pytest.mark.parametrize("announced", [True, False])
def test_what_is_too_large_is_not_read_to_its_end(announced: bool) -> None:
    """Whether or not its length is announced."""
    stream = Counted(b'{"name": "' + b"x" * 1_000_000 + b'"}')
    with pytest.raises(RequestEntityTooLarge):
        read_json(request(stream, 1_000_012 if announced else None), Body, 1000)
    assert stream.taken < 100_000


def test_what_is_nested_too_deeply_is_refused() -> None:
    """In a field that nobody asked for."""
    text = b'{"name": "x", "more": ' + b"[" * 7000 + b"]" * 7000 + b"}"
    with pytest.raises(InvalidRequest):
        read_json(request(io.BytesIO(text), len(text)), Body)


def test_a_good_body_is_read() -> None:
    """Its fields are those of the type."""
    text = b'{"name": "x", "more": []}'
    assert read_json(request(io.BytesIO(text), len(text)), Body) == Body("x")
