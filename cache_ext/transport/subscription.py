"""Connections that listen on channels, one to each server they lie on, with a heartbeat of their own."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis.exceptions import ConnectionError

from cache_ext.transport.commands import Command, info_field
from cache_ext.transport.connection import translated
from cache_ext.transport.server import Server
from cache_ext.transport.ways import Way

SHARDED = "SPUBLISH"
_TIME: Command = ("TIME",)
_STATE: Command = ("CLUSTER", "INFO")
"""Asked of each node with the time: one that is cut off from the others soon says that it is down."""


class Published(NamedTuple):
    """A message and the channel it came on."""

    channel: bytes
    data: bytes


class Beat(NamedTuple):
    """All servers have answered the oldest open `ask_time`: the latest of their clocks, Unix seconds."""

    time: float


class _Line:
    """The connection to one server."""

    def __init__(self, server: Server) -> None:
        self._pool = server.pool
        self.connection: Any = self._pool.get_connection()
        self.times: deque[float] = deque()
        """What the server has answered that not all have yet."""

    def send(self, *commands: Command) -> None:
        for command in commands:
            self.connection.send_command(*command)

    def receive(self) -> Any:
        return self.connection.read_response(push_request=True, disconnect_on_error=False)

    def close(self) -> None:
        self.connection.disconnect()
        self._pool.release(self.connection)


class Subscription:
    """Listens on *channels* through pooled connections. Used by one thread.

    RESP3 lets commands go over a subscribed connection; their answers come in order with the messages.

    Raises:
        StoreUnavailable: from every method, when a line is gone, or when the channels lie elsewhere by now.
    """

    def __init__(self, way: Way, channels: Sequence[str]) -> None:
        self._way = way
        self._sharded = self._way.publish == SHARDED
        self._lines: list[_Line] = []
        self._selector = selectors.DefaultSelector()
        self._unconfirmed = len(channels)
        try:
            with translated():
                self._confirmed_way = self._way.confirm()
                for server, its in self._by_server(channels).values():
                    self._listen(server, its)
        except BaseException:
            self.close()
            raise

    def _by_server(self, channels: Sequence[str]) -> Mapping[int, tuple[Server, list[str]]]:
        found: dict[int, tuple[Server, list[str]]] = {}
        for channel in channels:
            server = self._way.server_of(channel)
            found.setdefault(id(server), (server, []))[1].append(channel)
        return found

    def _listen(self, server: Server, channels: Sequence[str]) -> None:
        line = _Line(server)
        self._lines.append(line)
        if self._sharded:
            line.send(*(("SSUBSCRIBE", channel) for channel in channels))  # a slot at a time
        else:
            line.send(("SUBSCRIBE", *channels))
        self._selector.register(line.connection._sock, selectors.EVENT_READ, line)

    @property
    def confirmed(self) -> bool:
        """Whether the servers have confirmed every channel."""
        return self._unconfirmed == 0

    def ask_time(self) -> None:
        """Ask for the servers' clocks: a heartbeat that says something."""
        with translated():
            for line in self._lines:
                line.send(*((_STATE, _TIME) if self._sharded else (_TIME,)))

    def receive(self, patience: float) -> Published | Beat | None:
        """Return what comes next, None if nothing of interest came within *patience* seconds."""
        with translated():
            line = self._readable(patience)
            return None if line is None else self._sort(line, line.receive())

    def _readable(self, patience: float) -> _Line | None:
        """Return a line on which something has come."""
        if len(self._lines) == 1:
            return self._lines[0] if self._lines[0].connection.can_read(patience) else None
        for line in self._lines:  # what one read has brought of several replies
            if line.connection.can_read(0):
                return line
        for key, _ in self._selector.select(patience):
            return key.data  # type: ignore[no-any-return]
        return None

    def _sort(self, line: _Line, reply: Any) -> Published | Beat | None:
        match reply:
            case [b"message" | b"smessage", bytes(channel), bytes(data)]:
                return Published(channel, data)
            case [b"subscribe" | b"ssubscribe", *_]:
                self._unconfirmed -= 1
            case [b"sunsubscribe", *_]:
                raise ConnectionError("a channel has moved to another node")
            case [bytes(seconds), bytes(microseconds)] if (seconds + microseconds).isdigit():
                line.times.append(int(seconds) + int(microseconds) / 1e6)
                return self._beat()
            case bytes() | str() if self._sharded and info_field(reply, b"cluster_state") == "fail":
                raise ConnectionError("a node takes the cluster for down")
        return None

    def _beat(self) -> Beat | None:
        if not all(line.times for line in self._lines):
            return None
        if self._way.confirm() is not self._confirmed_way:
            raise ConnectionError("the channels lie elsewhere now")
        return Beat(max(line.times.popleft() for line in self._lines))

    def interrupt(self) -> None:
        """Make the thread that is in `receive` get StoreUnavailable. May be called from another."""
        for line in list(self._lines):
            if (open_line := line.connection._sock) is not None:
                with suppress(OSError):
                    open_line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connections."""
        self._selector.close()
        for line in self._lines:
            line.close()
