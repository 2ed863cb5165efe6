"""Shaking hands with Redis in time, and asking whether it is the same run of the server as before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ConnectionError, ResponseError

from cache_ext import metrics
from cache_ext.transport.budget import current_budget
from cache_ext.transport.commands import Command, info_field

Ask = Callable[[Sequence[Command]], list[Any]]
"""Sends commands on one connection and returns their replies."""
Lies = Callable[[str], bool]
"""Tells whether a key lies on the server that is asked."""
Adopt = Callable[[str, Ask, Lies], None]
"""Called with the server's run id before it is asked anything else."""
AskOn = Callable[[Any, Sequence[Command], float], list[Any]]
"""Sends commands on a connection and returns their replies, errors among them, until a deadline."""

LEAST_PATIENCE = 0.0005
"""Seconds. A socket's timeout of 0 would mean not to wait at all, and below it is no time."""


class Users:
    """Who uses Redis, by name: each adopts a server's run before he asks it anything."""

    def __init__(self) -> None:
        self.adopts: dict[str, Adopt] = {}

    def add(self, name: str, adopt: Adopt) -> None:
        """Let *adopt* be called for each run of a server; of the same *name*, the last counts."""
        self.adopts = {**self.adopts, name: adopt}


class Reception:
    """Makes each new connection to one server ready within its time, all steps together.

    Args:
        users: who adopts the server's runs.
        monotonic: the clock, seconds.
        timeout: seconds that it may take outside of requests; inside, it is what is left of the budget.
        before_connect: called before new connections outside of requests; may start a server.
        lies_here: tells which keys lie on this server.
        primary: refuse a server that says it is a replica.
    """

    def __init__(
        self,
        users: Users,
        monotonic: Callable[[], float],
        timeout: float,
        before_connect: Callable[[], None] | None = None,
        lies_here: Lies = lambda key: True,
        primary: bool = False,
    ) -> None:
        self._users = users
        self._monotonic = monotonic
        self._timeout = timeout
        self._before_connect = before_connect
        self._lies_here = lies_here
        self._primary = primary
        self._adopted: dict[str, tuple[Adopt, str]] = {}
        self.clustered = False

    def forget(self) -> None:
        """Have the users adopt the server once more: what lies on it is not what it was."""
        self._adopted = {}

    def expect(self, connection: Any) -> float:
        """Say by when *connection* must be ready, and return the seconds until then.

        Outside of requests, see to the server first.
        """
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
        return left

    def greet(self, connection: Any, ask: AskOn) -> None:
        """Shake hands, and if this is another run of the server than before, say so before it is used."""
        try:
            connection.users = None
            connection.on_connect()
            metrics.connections.inc()
            asked: Sequence[Command] = (("INFO", "server"), ("ROLE",))[: 1 + self._primary]
            info, *role = raise_first_error(ask(connection, asked, connection.greet_by))
            if self._primary and role[0][0] != b"master":
                raise ConnectionError("the server has become a replica")
            connection.run_id = info_field(info, b"run_id")
            self.clustered = info_field(info, b"_mode") == "cluster"  # redis_mode, or server_mode
            self.introduce(connection, connection.greet_by, ask)
        finally:
            connection.greet_by = None

    def introduce(self, connection: Any, deadline: float, ask: AskOn) -> None:
        """Let those adopt the server's run who have not, also if they came after *connection* was made."""
        users, adopted = self._users.adopts, self._adopted
        if connection.users is users and connection.adopted is adopted:
            return

        def tell(commands: Sequence[Command]) -> list[Any]:
            return raise_first_error(ask(connection, commands, deadline))

        for name, adopt in users.items():
            if adopted.get(name) != (adopt, connection.run_id):
                adopt(connection.run_id, tell, self._lies_here)
                adopted[name] = (adopt, connection.run_id)
        connection.users, connection.adopted = users, adopted


def raise_first_error(replies: list[Any]) -> list[Any]:
    """Return *replies* if none of them is an error."""
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
    return replies
