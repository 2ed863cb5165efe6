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


class Beat(NamedTuple):
    """The answer to the oldest `ask_time` that is not answered yet: the server's clock, Unix seconds."""

    time: float


class Subscription:
    """Listens on *channels* through one of the pool's connections. Used by one thread.

    RESP3 lets commands go over a subscribed connection; their answers come in order with the messages.

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

    def ask_time(self) -> None:
        """Ask for the server's clock: a heartbeat that says something."""
        with translated():
            self._connection.send_command("TIME")

    def receive(self, patience: float) -> Published | Beat | None:
        """Return what comes next, None if nothing of interest came within *patience* seconds."""
        with translated():
            if not self._connection.can_read(patience):
                return None
            reply = self._connection.read_response(push_request=True, disconnect_on_error=False)
        match reply:
            case [b"message", bytes(channel), bytes(data)]:
                return Published(channel, data)
            case [b"subscribe", *_]:
                self._unconfirmed -= 1
            case [bytes(seconds), bytes(microseconds)] if (seconds + microseconds).isdigit():
                return Beat(int(seconds) + int(microseconds) / 1e6)
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
