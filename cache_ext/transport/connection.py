"""The one way to Redis: pool, breaker and budget together; nothing else catches redis-py's errors."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from typing import Any

import redis
from redis.exceptions import AskError, RedisError, ResponseError, TryAgainError

from cache_ext import metrics
from cache_ext.errors import StoreUnavailable
from cache_ext.settings import CacheSettings
from cache_ext.stats.durations import Durations
from cache_ext.transport.breaker import CircuitBreaker
from cache_ext.transport.budget import Budget, budget, current_budget
from cache_ext.transport.commands import Command
from cache_ext.transport.finding import make_way
from cache_ext.transport.greeting import LEAST_PATIENCE, Users, raise_first_error
from cache_ext.transport.server import Server
from cache_ext.transport.ways import WAIT

WAITING = 0.5
"""Share of `op_timeout` that replicas are given."""
Converse = Callable[[Sequence[Command], float], list[Any]]
"""Sends commands and returns their replies, until a deadline."""

LONG_ENOUGH = LEAST_PATIENCE
"""Seconds. With less left of a budget it is not worth asking: a round trip would only be cut off."""
FAIR_CHANCE = 0.5
"""Share of `op_timeout`. A command that had less of it, the rest being used up, proves nothing by failing."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn what redis-py and sockets raise into StoreUnavailable, counted."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise _unavailable(error) from error


class RedisGateway:
    """One way to one Redis, be it several servers; shared by everything in the process.

    Args:
        settings: where Redis is and how long to wait for it.
        breaker: judged by every command that goes through here.
        monotonic: the clock, seconds.
        before_connect: called before each new connection outside of requests; may start a server.
        options: redis-py's connection options, instead of those in the settings' URL.
    """

    def __init__(
        self,
        settings: CacheSettings,
        breaker: CircuitBreaker,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        before_connect: Callable[[], None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.breaker = breaker
        self._settings = settings
        self._monotonic = monotonic
        self._scripts: dict[str, str] = {}
        self._durations: dict[str, Any] = {}
        self.trips = Durations()
        """Round trips of this process, by operation."""
        users = Users()
        self.on_new_server = users.add
        self.way = make_way(settings, users, self._scripts, monotonic, before_connect, options)

    def script(self, name: str) -> str:
        """Register ``lua/<name>.lua`` and return its SHA1, for EVALSHA."""
        text = resources.files("cache_ext").joinpath("lua", f"{name}.lua").read_text()
        return self.register_script(text)

    def register_script(self, text: str) -> str:
        """Remember *text*, so that `run` can send it where the server has forgotten it; return its SHA1."""
        text = text.replace("'PUBLISH'", f"'{self.way.publish}'")
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._scripts[sha] = text
        return sha

    def script_text(self, sha: str) -> str:
        """Return the text of a registered script."""
        return self._scripts[sha]

    def run(self, commands: Sequence[Command], operation: str = "other") -> list[Any]:
        """Send *commands* in one round trip, within the budget, and return their replies.

        Raises:
            CircuitOpen: Redis is known to be away.
            StoreUnavailable: no usable answer in time, or an error reply.
        """
        self.breaker.check()
        spending = current_budget()
        if spending is not None:
            return self._spend(self.way.converse, commands, operation, spending)
        with budget(self._settings.op_timeout) as spending:
            return self._spend(self.way.converse, commands, operation, spending)

    def run_aside(self, commands: Sequence[Command]) -> list[Any]:
        """Send *commands* as `run` does, on behalf of this process itself rather than of a caller."""
        self.breaker.check()
        with budget(self._settings.op_timeout) as spending:
            return self._spend(self.way.converse, commands, "other", spending)

    def run_kept(self, commands: Sequence[Command], operation: str = "other") -> list[Any]:
        """Send *commands*, which write, as `run` does; return once `wait_replicas` replicas have it.

        Raises:
            StoreUnavailable: as of `run`, or fewer have it in time; Redis may have done it all the same.
        """
        if not (wanted := self._settings.wait_replicas):
            return self.run(commands, operation)
        patience = max(1, int(1000 * self._settings.op_timeout * WAITING))
        *replies, kept = self.run([*commands, (WAIT, wanted, patience)], operation)
        if kept < wanted:
            raise StoreUnavailable(f"{kept} of {wanted} replicas have it in time")
        return replies

    def run_on(self, server: Server, commands: Sequence[Command]) -> list[Any]:
        """Send *commands*, which are about a server, to one of ``way.servers()``, as `run` does."""
        self.breaker.check()

        def converse(commands: Sequence[Command], deadline: float) -> list[Any]:
            return raise_first_error(server.converse(commands, deadline))

        with budget(self._settings.op_timeout) as spending:
            return self._spend(converse, commands, "other", spending)

    def probe(self) -> bool:
        """Tell, outside of any request, whether Redis answers a request in time; with an open circuit too."""
        try:
            for patience in (self._settings.timeout, self._settings.op_timeout):  # connecting may take longer
                with budget(patience, administrative=True) as spending:
                    self._spend(self._feel, (), "other", spending)
        except StoreUnavailable:
            return False
        return True

    def _feel(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        self.way.pulse(deadline)
        return []

    def _spend(
        self, converse: Converse, commands: Sequence[Command], operation: str, spending: Budget
    ) -> list[Any]:
        started = self._monotonic()
        allowed = spending.left
        if allowed < LONG_ENOUGH:
            raise StoreUnavailable("the request has spent its time for Redis")
        try:
            spending.deadline = started + allowed
            replies = converse(commands, spending.deadline)
        except (AskError, TryAgainError) as error:  # a slot is on its way from one node to another
            raise _unavailable(error) from error
        except (RedisError, OSError) as error:
            self.way.doubt()
            if allowed >= self._settings.op_timeout * FAIR_CHANCE:
                self.breaker.failure(f"{type(error).__name__}: {error}")
            raise _unavailable(error) from error
        finally:
            elapsed = self._monotonic() - started
            spending.deadline = None
            spending.spend(elapsed)
        durations = self._durations.get(operation)
        if durations is None:
            durations = self._durations[operation] = metrics.operation_duration.labels(operation)
        durations.observe(elapsed)
        self.trips.observe(operation, elapsed)
        self.breaker.success()
        return replies

    @property
    def clustered(self) -> bool:
        """Whether commands are refused whose keys lie in several slots."""
        return self.way.clustered

    def connections(self) -> tuple[int, int]:
        """Return how many pooled connections are idle and how many are used."""
        counts = [server.connections() for server in self.way.servers().values()]
        return sum(idle for idle, _ in counts), sum(used for _, used in counts)

    def close(self) -> None:
        """Close all connections."""
        with suppress(StoreUnavailable), translated():
            self.way.close()


def _unavailable(error: Exception) -> StoreUnavailable:
    metrics.connection_errors.labels(_kind(error)).inc()
    return StoreUnavailable(f"{type(error).__name__}: {error}")


def _kind(error: Exception) -> str:
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return "timeout"
    if isinstance(error, ResponseError):
        return "response"
    return "pool" if "No connection available" in str(error) else "connection"
