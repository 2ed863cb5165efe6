"""One Redis server: its pooled connections, and asking on them until a deadline."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import redis

from cache_ext.settings import CacheSettings
from cache_ext.transport.commands import Command, Prepared, pack
from cache_ext.transport.greeting import LEAST_PATIENCE, Reception, raise_first_error
from cache_ext.transport.pooling import PatientQueue, SwiftPool, guarded

SMALL_BYTES = 16_384
"""So much fits into the kernel's buffers of a connection at rest: sending it does not wait."""
UNHURRIED = 0.99
"""Share of `op_timeout`. With as much left, the socket's own timeout, which is that, will do."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Server:
    """The connections of this process to one server.

    Args:
        options: redis-py's connection options: where the server is, and as whom to come.
        settings: how many connections there may be, and how long to wait.
        reception: greets the server on each new connection.
        monotonic: the clock, seconds.
        find: says where the server is, within so many seconds, if that is not among *options*.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        settings: CacheSettings,
        reception: Reception,
        monotonic: Callable[[], float],
        find: Callable[[float], Address] | None = None,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._find = find
        self.reception = reception
        self._unhurried = settings.op_timeout * UNHURRIED
        self.pool = self._make_pool(dict(options))

    def _make_pool(self, options: dict[str, Any]) -> SwiftPool:
        for name in ("username", "password"):
            if (given := getattr(self._settings, f"redis_{name}")) is not None:
                options[name] = given
        base = options.pop("connection_class", redis.Connection)
        return SwiftPool(  # type: ignore[no-untyped-call]
            connection_class=guarded(base, self._expect, self._hear),
            max_connections=self._settings.pool_size,
            timeout=self._settings.pool_timeout,
            queue_class=PatientQueue,
            protocol=3,
            driver_info=None,
            socket_timeout=self._settings.op_timeout,
            redis_connect_func=lambda connection: self.reception.greet(connection, self.ask),
            **options,
        )

    @property
    def client(self) -> redis.Redis:
        """redis-py's, on the same connections."""
        return redis.Redis(connection_pool=self.pool)

    def _expect(self, connection: Any) -> None:
        """Say by when *connection* must be ready, and where it leads."""
        left = self.reception.expect(connection)
        connection.era = self.pool.era
        if self._find is not None:
            connection.host, connection.port = self._find(left)

    def converse(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """Return the replies to *commands*, errors among them."""
        connection = self.take(deadline)
        try:
            return self.ask(connection, commands, deadline)
        except BaseException:
            connection.disconnect()  # replies may still be on their way: nobody else may read them
            raise
        finally:
            self.pool.release(connection)

    def take(self, deadline: float) -> Any:
        """Return a connection whose server is known; `give_back` it."""
        connection = self.pool.get_connection()
        try:
            self.reception.introduce(connection, deadline, self.ask)
        except BaseException:
            self.give_back(connection, clean=False)
            raise
        return connection

    def give_back(self, connection: Any, clean: bool = True) -> None:
        """Let others use *connection*, anew if replies may still be on their way."""
        if not clean:
            connection.disconnect()
        self.pool.release(connection)

    def ask(self, connection: Any, commands: Sequence[Command], deadline: float) -> list[Any]:
        """Send *commands* on *connection* and return the replies, errors among them."""
        self.send(connection, commands, deadline)
        return self.receive(connection, len(commands), deadline)

    def send(self, connection: Any, commands: Sequence[Command], deadline: float) -> None:
        """Send *commands*."""
        wire = commands.wire if isinstance(commands, Prepared) else pack(commands)
        line = connection._sock  # the connection adds nothing that we use, slowly
        if line is None:  # `renew` has closed it
            raise redis.ConnectionError("the connection was closed")
        if len(wire) > SMALL_BYTES:  # a server that reads nothing blocks who sends much
            line.settimeout(self._patience(deadline))
            line.sendall(wire)
            line.settimeout(self._settings.op_timeout)
        else:
            line.sendall(wire)

    def receive(self, connection: Any, count: int, deadline: float) -> list[Any]:
        """Return the next *count* replies."""
        parser = connection._parser
        return [self._receive(connection, parser, deadline) for _ in range(count)]

    def _receive(self, connection: Any, parser: Any, deadline: float) -> Any:
        """Return a reply, or the error that it is; one that is here already is never too late.

        In a crowd of threads or greenlets it may be we who are late: the reply waits while others run.
        """
        while True:
            patience = self._patience(deadline)
            try:
                if self._unhurried <= patience <= self._settings.op_timeout:
                    return parser.read_response()
                return parser.read_response(timeout=patience)
            except redis.TimeoutError:
                if not connection.can_read(0):
                    raise

    def _hear(self, connection: Any, deadline: float) -> Any:
        return raise_first_error([self._receive(connection, connection._parser, deadline)])[0]

    def _patience(self, deadline: float) -> float:
        return max(LEAST_PATIENCE, deadline - self._monotonic())

    def renew(self) -> None:
        """Let no connection made so far be used again, and whoever waits on one wait no longer.

        The server that they lead to may still answer, and has been replaced.
        """
        self.pool.era += 1
        for connection in list(self.pool._connections):
            line = connection._sock
            if line is not None and connection.era != self.pool.era:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def connections(self) -> tuple[int, int]:
        """Return how many pooled connections are idle and how many are used."""
        made = len(self.pool._connections)
        idle = sum(connection is not None for connection in list(self.pool.pool.queue))
        return idle, made - idle
