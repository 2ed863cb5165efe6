"""One connection that listens on channels, with a heartbeat of its own."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from cache_ext.transport.connection import RedisGateway, translated


class Published(NamedTuple):
    """A message and the channel it came on."""

    channel: bytes
    data: bytes


class Pong(NamedTuple):
    """The answer to the oldest PING that is not answered yet."""


class Subscription:
    """Listens on *channels* through one of the pool's connections. Used by one thread.

    RESP3 lets PING go over a subscribed connection; its answer comes in order with the messages.

    Raises:
        StoreUnavailable: from every method, when the line is gone.
    """

    def __init__(self, gateway: RedisGateway, channels: Sequence[str]) -> None:
        self._pool = gateway.pool
        with translated():
            self._connection: Any = self._pool.get_connection()
        try:
            with translated():
                self._connection.send_command("SUBSCRIBE", *channels)
        except BaseException:
            self.close()
            raise
        self._unconfirmed = len(channels)

    @property
    def confirmed(self) -> bool:
        """Whether the server has confirmed every channel."""
        return self._unconfirmed == 0

    def ping(self) -> None:
        """Send a heartbeat."""
        with translated():
            self._connection.send_command("PING")

    def receive(self, patience: float) -> Published | Pong | None:
        """Return what comes next, None if nothing of interest came within *patience* seconds."""
        with translated():
            if not self._connection.can_read(patience):
                return None
            reply = self._connection.read_response(push_request=True, disconnect_on_error=False)
        if not isinstance(reply, list):
            return Pong()
        kind, channel, data = reply[:3]
        if kind == b"message":
            return Published(channel, data)
        self._unconfirmed -= kind == b"subscribe"
        return None

    def interrupt(self) -> None:
        """Make the thread that is in `receive` get StoreUnavailable. May be called from another."""
        line = self._connection._sock
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        self._connection.disconnect()
        self._pool.release(self._connection)
