"""Running an application, and what it answers while it still does. Source: PEP 3333."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from cache_ext.http_cache.fields import Headers, delta_seconds, values_of

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED})


class Answer:
    """An application's answer under way: its head is known, its body is read on demand.

    Must be closed, if not by `closing_body` then by `close`.

    Args:
        app: is called at once, until it has begun its body or ended.
    Raises:
        Whatever *app* raises.
    """

    def __init__(self, app: Application, environ: Environ) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self._begun: list[bytes] = []
        self._sent = False
        self._body: Iterable[bytes] = app(environ, self._start)
        try:
            self._rest = iter(self._body)
            self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def code(self) -> int:
        """The status code."""
        return int(self.status[:3])

    def read(self, most_bytes: int) -> bytes | None:
        """Return the whole body; None if it is longer than *most_bytes* or not as long as it says.

        What was read of it, and what is left, can still be passed on.

        Raises:
            Whatever the application raises.
        """
        while sum(map(len, self._begun)) <= most_bytes:
            chunk = next(self._rest, None)
            if chunk is None:
                body = b"".join(self._begun)
                return body if len(body) <= most_bytes and self._is_whole(len(body)) else None
            self._begun.append(chunk)
        return None

    def closing_body(self) -> _Body:
        """Return the body, what was read of it and what is left, for the server to send and close."""
        return _Body(self)

    def close(self) -> None:
        """Tell the application that nobody wants more; once."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the chunks of the body, written or returned, in order."""
        while True:
            yield from self._take()
            chunk = next(self._rest, None)
            yield from self._take()
            if chunk is None:
                return
            yield chunk

    def _take(self) -> list[bytes]:
        taken, self._begun = self._begun, []
        return taken

    def _write(self, chunk: bytes) -> None:
        self._begun.append(chunk)

    def _start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self._sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status:
            raise AssertionError("start_response was called twice")
        if status[:1] != "1":  # an interim answer is no answer yet
            self.status, self.headers = status, list(headers)
        return self._write

    def _begin(self) -> None:
        """Read up to the first byte: until then the application may change the head."""
        while not any(self._begun):
            chunk = next(self._rest, None)
            if chunk is None:
                break
            self._begun.append(chunk)
        if not self.status:
            raise AssertionError("the application did not call start_response")
        self._sent = True

    def _is_whole(self, size: int) -> bool:
        """Tell whether *size* is what Content-Length says, if it says anything."""
        told = {delta_seconds(value.strip()) for value in values_of(self.headers, "content-length")}
        return size == 0 if self.code in _BODILESS else told <= {size}


class _Body:
    """A body on its way to the server."""

    __slots__ = ("_answer", "_chunks")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._chunks = answer.chunks()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        self._answer.close()


_OVERRIDES = ("HTTP_X_FORWARDED", "HTTP_X_ORIGINAL_", "HTTP_X_REWRITE_", "HTTP_X_HTTP_METHOD")
_HIDDEN = frozenset(
    {
        "HTTP_FORWARDED",
        "HTTP_FRONT_END_HTTPS",
        "HTTP_IF_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_RANGE",
        "HTTP_IF_UNMODIFIED_SINCE",
        "HTTP_RANGE",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_X_HOST",
        "HTTP_X_METHOD_OVERRIDE",
        "HTTP_X_SCHEME",
        "HTTP_X_URL_SCHEME",
    }
)
"""What would make the answer one for this client alone, or for another URL or method than is asked for."""
_OF_CONNECTION = frozenset(
    {"wsgi.early_hints", "wsgi.file_wrapper", "wsgi.input_terminated", "gunicorn.socket", "werkzeug.socket"}
)


def environ_to_store(environ: Mapping[str, Any], shown: frozenset[str]) -> Environ:
    """Return *environ* as the application is to see it when its answer may be stored: a plain GET.

    Args:
        shown: names of request fields, as WSGI has them, that are not to be hidden.
    """
    made = {
        name: value
        for name, value in environ.items()
        if name in shown or not (name in _HIDDEN or name.startswith(_OVERRIDES))
    }
    made["REQUEST_METHOD"] = "GET"
    return made


def without_connection(environ: Environ, no_input: Any) -> Environ:
    """Return *environ* without what ends with its request; *no_input* is an empty stream."""
    made = {
        name: value
        for name, value in environ.items()
        if name not in _OF_CONNECTION and not name.startswith(("werkzeug.", "flask."))
    }
    made["wsgi.input"] = no_input
    return made
