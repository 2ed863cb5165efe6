"""Shaking hands with Redis in time, and asking whether it is the same run of the server as before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from cache_ext import metrics
from cache_ext.transport.budget import current_budget
from cache_ext.transport.commands import Command, info_field

Ask = Callable[[Sequence[Command]], list[Any]]
"""Sends commands on one connection and returns their replies."""

LEAST_PATIENCE = 0.0005
"""Seconds. A socket's timeout of 0 would mean not to wait at all, and below it is no time."""


class _User:
    """Who uses the connections, and the last run of the server that he has adopted."""

    def __init__(self, adopt: Callable[[str, Ask], None]) -> None:
        self.adopt = adopt
        self.run_id = ""


class Reception:
    """Makes each new connection ready within its time, all steps together.

    Args:
        ask: sends commands on a connection and returns their replies until a deadline.
        monotonic: the clock, seconds.
        timeout: seconds that it may take outside of requests; inside, it is what is left of the budget.
        before_connect: called before new connections outside of requests; may start a server.
    """

    def __init__(
        self,
        ask: Callable[[Any, Sequence[Command], float], list[Any]],
        monotonic: Callable[[], float],
        timeout: float,
        before_connect: Callable[[], None] | None,
    ) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._timeout = timeout
        self._before_connect = before_connect
        self._users: dict[str, _User] = {}
        self.clustered = False

    def on_new_server(self, name: str, adopt: Callable[[str, Ask], None]) -> None:
        """Let *adopt* be called, with its run id, for each run of the server before *name* asks it anything.

        Args:
            name: of who uses the connections; of the same name, the last counts.
        """
        self._users = {**self._users, name: _User(adopt)}

    def expect(self, connection: Any) -> None:
        """Say by when *connection* must be ready; outside of requests, see to the server first."""
        spending = current_budget()
        if spending is None or spending.administrative:
            if self._before_connect is not None:
                self._before_connect()
            left = self._timeout
        elif spending.deadline is None:
            left = spending.left
        else:
            left = spending.deadline - self._monotonic()
        connection.greet_by = self._monotonic() + left
        connection.socket_connect_timeout = max(LEAST_PATIENCE, left)

    def greet(self, connection: Any) -> None:
        """Shake hands, and if this is another run of the server than before, say so before it is used."""
        try:
            connection.run_id, connection.users = "", None
            connection.on_connect()
            metrics.connections.inc()
            (info,) = raise_first_error(self._ask(connection, [("INFO", "server")], connection.greet_by))
            connection.run_id = info_field(info, b"run_id")
            self.clustered = info_field(info, b"_mode") == "cluster"  # redis_mode, or server_mode
            self.introduce(connection, connection.greet_by)
        finally:
            connection.greet_by = None

    def introduce(self, connection: Any, deadline: float) -> None:
        """Let those adopt the server's run who have not, also if they came after *connection* was made."""
        users = self._users
        if connection.users is users:
            return

        def ask(commands: Sequence[Command]) -> list[Any]:
            return raise_first_error(self._ask(connection, commands, deadline))

        for user in users.values():
            if user.run_id != connection.run_id:
                user.adopt(connection.run_id, ask)
                user.run_id = connection.run_id
        connection.users = users


def raise_first_error(replies: list[Any]) -> list[Any]:
    """Return *replies* if none of them is an error."""
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
    return replies
