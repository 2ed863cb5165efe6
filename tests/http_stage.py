"""An application that answers as it is told behind an `HttpCache`, both sides watched by a WSGI validator."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from wsgiref.validate import validator

from cache_ext import HttpCache, HttpCacheOptions, TieredCache
from cache_ext.testing import FakeClock

Headers = list[tuple[str, str]]
PLAIN = ("Content-Type", "text/plain")
TEXT = b"The quick brown fox jumps over the lazy dog. " * 40
"""Long enough to be worth compressing."""


@dataclass
class Reply:
    """What a client got."""

    status: int
    headers: Headers
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        found = [value for known, value in self.headers if known.lower() == name.lower()]
        return ", ".join(found) if found else None

    @property
    def outcome(self) -> str | None:
        """X-Cache."""
        return self["X-Cache"]


@dataclass
class Script:
    """What the application answers, and what it was asked.

    Args:
        status, headers, body: of each answer.
        answer: instead of those: the whole application.
        count: put the number of the answer into the body.
    """

    status: str = "200 OK"
    headers: Headers = field(default_factory=lambda: [("Cache-Control", "max-age=60")])
    body: bytes | None = None
    answer: Callable[[dict[str, Any], Any], Iterable[bytes]] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        self.asked.append(dict(environ))
        if self.answer is not None:
            return self.answer(environ, start_response)
        bodiless = self.status[:3] in ("204", "304")
        body = b"" if bodiless else self.body if self.body is not None else b"answer %d" % len(self.asked)
        named = {name.lower() for name, _ in self.headers}
        plain = [PLAIN] if "content-type" not in named and not bodiless else []
        start_response(self.status, [*self.headers, *plain])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def says(self, cache_control: str | None = None, *headers: tuple[str, str], **others: Any) -> None:
        """Answer so from now on."""
        self.headers = [*headers] if cache_control is None else [("Cache-Control", cache_control), *headers]
        for name, value in others.items():
            setattr(self, name, value)


class Stage:
    """A client, a door, an application."""

    def __init__(
        self, cache: TieredCache, clock: FakeClock | None = None, *, checked: bool = True, **options: Any
    ) -> None:
        self.cache, self.clock, self.script = cache, clock, Script()
        time = {} if clock is None else {"time": clock.time}
        inner: Any = validator(self.script) if checked else self.script
        self.door = HttpCache(inner, cache, options=HttpCacheOptions(**options), **time)
        self._entry: Any = validator(self.door) if checked else self.door

    @property
    def asked(self) -> int:
        """How often the application was asked."""
        return len(self.script.asked)

    def get(self, path: str = "/", headers: Mapping[str, str] | None = None, **options: Any) -> Reply:
        """Send a GET."""
        return self.send("GET", path, headers, **options)

    def send(
        self,
        method: str,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
        **extra: Any,
    ) -> Reply:
        """Send a request and return the whole answer."""
        begun: list[Any] = []
        written: list[bytes] = []

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
            begun[:] = [status, headers]
            return written.append

        answer = self._entry(make_environ(method, path, headers, body, **extra), start_response)
        try:
            chunks = list(answer)
        finally:
            getattr(answer, "close", lambda: None)()
        status, fields = begun
        return Reply(int(status[:3]), list(fields), b"".join([*written, *chunks]))


def make_environ(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"", **extra: Any
) -> dict[str, Any]:
    """Return the WSGI environment of a request."""
    place, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": place,
        "QUERY_STRING": query,
        "SERVER_NAME": "example.com",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "example.com",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in (headers or {}).items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ | extra


def date(clock: FakeClock, ahead: float = 0.0) -> str:
    """Return the HTTP-date of *ahead* seconds from now."""
    return formatdate(clock.time() + ahead, usegmt=True)


class Chunks:
    """A body that is made while it is sent, and notes its end.

    Args:
        chunks: of it; an exception among them is raised.
    """

    def __init__(self, *chunks: bytes | Exception) -> None:
        self._chunks = chunks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def close(self) -> None:
        """Note that it was closed."""
        self.closed += 1
