"""One HTTP exchange within one total deadline, whatever the other side does.

The timeouts of `requests` and urllib3 hold for each read of the socket, so a server that sends one byte now
and then keeps a caller for ever. Here each single receive may take what is left of the whole question's time:
connecting, TLS, redirects, headers and body all draw on it. It needs no timer thread and works alike
under threads and gevent. Proxies from the environment are not used.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import certifi

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

from shivx.providers.deadline import Deadline
from shivx.providers.dial import dial

MAX_BODY_BYTES = 32 * 1024 * 1024  # Binance's list of markets, the largest honest answer, has 15 MB
MAX_REDIRECTS = 3
MAX_IDLE = 8  # connections kept for later, per process and host
MAX_IDLE_SECONDS = 30.0  # servers and NATs drop idle ones after 60 or more, some without a word
CHUNK_BYTES = 65_536
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class BadAnswer(Exception):
    """The other side does not speak HTTP as it should: too large, malformed, redirected in circles."""


class LineBroken(OSError):
    """The line was cut in the middle of an answer."""


class Answer(NamedTuple):
    """A complete HTTP answer; header names in lower case, the body decompressed."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


class _Reader(io.RawIOBase):
    """Receives at most until the connection's present deadline."""

    def __init__(self, connection: _Connection, sock: socket.socket) -> None:
        self._connection = connection
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        self._sock.settimeout(self._connection.deadline.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Wire:
    """The little that `http.client` needs of a socket, under the connection's deadline."""

    def __init__(self, connection: _Connection, sock: socket.socket) -> None:
        self._connection = connection
        self._sock = sock

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._connection.deadline.remaining())
        self._sock.sendall(data)

    def makefile(self, mode: str = "rb", buffering: int = CHUNK_BYTES) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._connection, self._sock), CHUNK_BYTES)

    def close(self) -> None:
        self._sock.close()


class _Connection(http.client.HTTPConnection):
    """A kept-alive connection; each question that uses it sets `deadline` first."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline) -> None:
        super().__init__(host, port)
        self.deadline = deadline
        self.idle_since = 0.0
        self._tls = tls

    def connect(self) -> None:
        sock = dial(self.host, self.port, self.deadline)
        if self._tls is not None:
            try:
                sock.settimeout(self.deadline.remaining())
                sock = self._tls.wrap_socket(sock, server_hostname=self.host)
            except BaseException:
                sock.close()
                raise
        self.sock = _Wire(self, sock)


class HttpLine:
    """Kept-alive connections of one process to an origin. Safe for threads and greenlets.

    Args:
        monotonic: a clock that never goes back, seconds.
        max_body_bytes: an answer may have so many, before and after decompression.
    """

    def __init__(self, monotonic: Callable[[], float], *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._monotonic = monotonic
        self._max_body_bytes = max_body_bytes
        self._tls: ssl.SSLContext | None = None
        # By process too: a child of a fork must not talk on its parent's connections.
        self._idle: dict[tuple[int, str, str, int], list[_Connection]] = {}
        self._lock = threading.Lock()

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Answer:
        """Send one request, follow redirects of a GET, and return the complete answer.

        Args:
            url: absolute, http or https.
            deadline: for all of it.
        Raises:
            DeadlinePassed, TimeoutError: not complete in time.
            OSError: refused, cut, no such host, no trust in its certificate.
            BadAnswer: not HTTP, too large, or too many redirects.
        """
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(url)
            answer = self._ask(parts, method, headers, body, deadline)
            target = answer.headers.get("location")
            if answer.status not in REDIRECTS or target is None or method != "GET":
                return answer
            url = urljoin(url, target)
            if urlsplit(url).scheme not in {"https", parts.scheme}:
                raise BadAnswer("redirected from https to something less safe")
        raise BadAnswer(f"redirected more than {MAX_REDIRECTS} times")

    def close(self) -> None:
        """Close the idle connections; those in use close when their answer is complete."""
        with self._lock:
            idle = [connection for kept in self._idle.values() for connection in kept]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _ask(
        self,
        parts: SplitResult,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
    ) -> Answer:
        target = parts.path or "/"
        if parts.query:
            target += "?" + parts.query
        while True:
            connection, is_fresh = self._take(parts, deadline)
            try:
                connection.request(method, target, body, dict(headers))
                answer, reusable = self._receive(connection)
            except ConnectionError:
                connection.close()
                if is_fresh:
                    raise
                continue  # the server had closed it while it was idle; the next may be alive
            except (http.client.HTTPException, zlib.error, ValueError) as error:
                connection.close()
                raise BadAnswer(f"not HTTP as it should be ({type(error).__name__})") from error
            except BaseException:
                connection.close()
                raise
            self._keep(parts, connection, reusable)
            return answer

    def _receive(self, connection: _Connection) -> tuple[Answer, bool]:
        response = connection.getresponse()
        with response:
            names = {name.lower(): value for name, value in response.getheaders()}
            try:
                body = _read(response, self._max_body_bytes, names.get("content-encoding") == "gzip")
            except http.client.IncompleteRead as error:
                raise LineBroken("cut in the middle of an answer") from error
            return Answer(response.status, response.reason, names, body), not response.will_close

    def _take(self, parts: SplitResult, deadline: Deadline) -> tuple[_Connection, bool]:
        key = _key(parts)
        oldest = self._monotonic() - MAX_IDLE_SECONDS
        with self._lock:
            kept = self._idle.get(key, [])
            stale = [connection for connection in kept if connection.idle_since < oldest]
            kept[:] = [connection for connection in kept if connection.idle_since >= oldest]
            connection = kept.pop() if kept else None
        for dead in stale:
            dead.close()
        if connection is not None:
            connection.deadline = deadline
            return connection, False
        tls = self._tls_context() if parts.scheme == "https" else None
        return _Connection(key[2], key[3], tls, deadline), True

    def _keep(self, parts: SplitResult, connection: _Connection, reusable: bool) -> None:
        connection.idle_since = self._monotonic()
        with self._lock:
            kept = self._idle.setdefault(_key(parts), [])
            if reusable and len(kept) < MAX_IDLE:
                kept.append(connection)
                return
        connection.close()

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            context = ssl.create_default_context()  # honours SSL_CERT_FILE
            context.load_verify_locations(certifi.where())  # slim images have no authorities of their own
            self._tls = context
        return self._tls


def _key(parts: SplitResult) -> tuple[int, str, str, int]:
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadAnswer("not an http or https address")
    return os.getpid(), parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _read(response: http.client.HTTPResponse, limit: int, is_gzip: bool) -> bytes:
    unzip = zlib.decompressobj(wbits=31) if is_gzip else None
    chunks: list[bytes] = []
    size = received = 0
    while chunk := response.read(CHUNK_BYTES):
        received += len(chunk)
        data = unzip.decompress(chunk, limit - size + 1) if unzip else chunk
        size += len(data)
        if max(size, received) > limit:
            raise BadAnswer(f"the answer is larger than {limit} bytes")
        chunks.append(data)
    if response.length or (unzip is not None and received and not unzip.eof):
        raise LineBroken("cut in the middle of an answer")
    return b"".join(chunks)
