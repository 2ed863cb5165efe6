"""An HTTP connection whose every receive and send may take only what is left of a deadline."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from typing import TYPE_CHECKING

from shivx.providers.deadline import Deadline
from shivx.providers.dial import dial

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

BUFFER_BYTES = 65_536


class _Reader(io.RawIOBase):
    """Receives at most until the connection's present deadline."""

    def __init__(self, connection: TimedConnection, sock: socket.socket) -> None:
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

    def __init__(self, connection: TimedConnection, sock: socket.socket) -> None:
        self._connection = connection
        self._sock = sock

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._connection.deadline.remaining())
        self._sock.sendall(data)

    def makefile(self, mode: str = "rb", buffering: int = BUFFER_BYTES) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._connection, self._sock), BUFFER_BYTES)

    def close(self) -> None:
        self._sock.close()


class TimedConnection(http.client.HTTPConnection):
    """A kept-alive connection; each question that uses it sets `deadline` first."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline) -> None:
        super().__init__(host, port)
        self.deadline = deadline
        self.idle_since = 0.0
        self._tls = tls

    def connect(self) -> None:
        """Connect, with TLS if so made; `http.client` calls this when it must."""
        sock = dial(self.host, self.port, self.deadline)
        if self._tls is not None:
            try:
                sock.settimeout(self.deadline.remaining())
                sock = self._tls.wrap_socket(sock, server_hostname=self.host)
            except BaseException:
                sock.close()
                raise
        self.sock = _Wire(self, sock)
