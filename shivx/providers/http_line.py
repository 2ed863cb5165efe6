"""One HTTP exchange within one total deadline, whatever the other side does.

The timeouts of `requests` hold for each read of the socket, so a server that sends one byte now and then
keeps a caller for ever. Here connecting, TLS, redirects and each single receive may take what is left of the
whole question's time, without a timer thread. Proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import os
import ssl
import threading
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import certifi

from shivx.providers.deadline import Deadline
from shivx.providers.timed_connection import TimedConnection

MAX_BODY_BYTES = 32 * 1024 * 1024  # far above the largest honest answer, a list of all markets
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
        self._idle: dict[tuple[int, str, str, int], list[TimedConnection]] = {}
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
                answer, reusable = _receive(connection, self._max_body_bytes)
            except BaseException as error:
                connection.close()
                if isinstance(error, ConnectionError) and not is_fresh:
                    continue  # the server had closed it while it was idle; the next may be alive
                meaning = _translated(error)
                if meaning is error:
                    raise
                raise meaning from error
            self._keep(parts, connection, reusable)
            return answer

    def _take(self, parts: SplitResult, deadline: Deadline) -> tuple[TimedConnection, bool]:
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
        return TimedConnection(key[2], key[3], tls, deadline), True

    def _keep(self, parts: SplitResult, connection: TimedConnection, reusable: bool) -> None:
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


def _translated(error: BaseException) -> BaseException:
    if isinstance(error, http.client.IncompleteRead):
        return LineBroken("cut in the middle of an answer")
    malformed = isinstance(error, http.client.HTTPException | zlib.error | ValueError)
    if malformed and not isinstance(error, OSError):  # RemoteDisconnected is both
        return BadAnswer(f"not HTTP as it should be ({type(error).__name__})")
    return error


def _receive(connection: TimedConnection, max_body_bytes: int) -> tuple[Answer, bool]:
    with connection.getresponse() as response:
        names = {name.lower(): value for name, value in response.getheaders()}
        body = _read(response, max_body_bytes, names.get("content-encoding") == "gzip")
        return Answer(response.status, response.reason, names, body), not response.will_close


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
