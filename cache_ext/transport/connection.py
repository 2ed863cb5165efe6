"""The one way to Redis: pool, breaker and budget together; nothing else catches redis-py's errors."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from typing import Any

import redis
from redis.connection import parse_url
from redis.exceptions import NoScriptError, RedisError, ResponseError

from cache_ext import metrics
from cache_ext.errors import ConfigurationError, StoreUnavailable
from cache_ext.settings import CacheSettings
from cache_ext.stats.durations import Durations
from cache_ext.transport.breaker import CircuitBreaker
from cache_ext.transport.budget import Budget, budget, current_budget
from cache_ext.transport.commands import Command, Prepared, pack
from cache_ext.transport.greeting import LEAST_PATIENCE, Reception, raise_first_error
from cache_ext.transport.pooling import PatientQueue, SwiftPool, guarded

SCHEMES = ("redis://", "rediss://", "unix://")
LONG_ENOUGH = LEAST_PATIENCE
"""Seconds. With less left of a budget it is not worth asking: a round trip would only be cut off."""
SMALL_BYTES = 16_384
"""So much fits into the kernel's buffers of a connection at rest: sending it does not wait."""
UNHURRIED = 0.99
"""Share of `op_timeout`. With as much left, the socket's own timeout, which is that, will do."""
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
    """One pooled way to one Redis, shared by everything in the process.

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
        if not settings.redis_url.startswith(SCHEMES):
            raise ConfigurationError(f"redis_url starts with {', '.join(SCHEMES)}")
        self.breaker = breaker
        self._settings = settings
        self._monotonic = monotonic
        self._reception = Reception(self._ask, monotonic, settings.timeout, before_connect)
        self.on_new_server = self._reception.on_new_server
        self._scripts: dict[str, str] = {}
        self._durations: dict[str, Any] = {}
        self.trips = Durations()
        """Round trips of this process, by operation."""
        self._unhurried = settings.op_timeout * UNHURRIED
        self.pool = self._make_pool(dict(options or parse_url(settings.redis_url)))
        self.client = redis.Redis(connection_pool=self.pool)
        """For other libraries (limits, sessions): the same connections, the same limits of time."""

    def _make_pool(self, options: dict[str, Any]) -> SwiftPool:
        for name in ("username", "password"):
            if (given := getattr(self._settings, f"redis_{name}")) is not None:
                options[name] = given
        base = options.pop("connection_class", redis.Connection)
        return SwiftPool(  # type: ignore[no-untyped-call]
            connection_class=guarded(base, self._reception.expect, self._hear),
            max_connections=self._settings.pool_size,
            timeout=self._settings.pool_timeout,
            queue_class=PatientQueue,
            protocol=3,
            driver_info=None,
            socket_timeout=self._settings.op_timeout,
            redis_connect_func=self._reception.greet,
            **options,
        )

    def script(self, name: str) -> str:
        """Register ``lua/<name>.lua`` and return its SHA1, for EVALSHA."""
        text = resources.files("cache_ext").joinpath("lua", f"{name}.lua").read_text()
        return self.register_script(text)

    def register_script(self, text: str) -> str:
        """Remember *text*, so that `run` can send it where the server has forgotten it; return its SHA1."""
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
            return self._spend(commands, operation, spending)
        with budget(self._settings.op_timeout) as spending:
            return self._spend(commands, operation, spending)

    def run_aside(self, commands: Sequence[Command]) -> list[Any]:
        """Send *commands* as `run` does, on behalf of this process itself rather than of a caller."""
        self.breaker.check()
        with budget(self._settings.op_timeout) as spending:
            return self._spend(commands, "other", spending)

    def probe(self) -> bool:
        """Tell, outside of any request, whether Redis answers a request in time; with an open circuit too."""
        try:
            for patience in (self._settings.timeout, self._settings.op_timeout):  # connecting may take longer
                with budget(patience, administrative=True) as spending:
                    self._spend([("PING",)], "other", spending)
        except StoreUnavailable:
            return False
        return True

    def _spend(self, commands: Sequence[Command], operation: str, spending: Budget) -> list[Any]:
        started = self._monotonic()
        allowed = spending.left
        if allowed < LONG_ENOUGH:
            raise StoreUnavailable("the request has spent its time for Redis")
        try:
            spending.deadline = started + allowed
            replies = self._converse(commands, spending.deadline)
        except (RedisError, OSError) as error:
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

    def _converse(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        connection = self.pool.get_connection()
        try:
            self._reception.introduce(connection, deadline)
            replies = self._ask(connection, commands, deadline)
            forgotten = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if forgotten:
                again = [("EVAL", self._scripts[str(commands[at][1])], *commands[at][2:]) for at in forgotten]
                for at, reply in zip(forgotten, self._ask(connection, again, deadline), strict=True):
                    replies[at] = reply
        except BaseException:
            connection.disconnect()  # replies may still be on their way: nobody else may read them
            raise
        finally:
            self.pool.release(connection)
        return raise_first_error(replies)

    def _ask(self, connection: Any, commands: Sequence[Command], deadline: float) -> list[Any]:
        wire = commands.wire if isinstance(commands, Prepared) else pack(commands)
        line, parser = connection._sock, connection._parser  # the connection adds nothing that we use, slowly
        if len(wire) > SMALL_BYTES:  # a server that reads nothing blocks who sends much
            line.settimeout(self._patience(deadline))
            line.sendall(wire)
            line.settimeout(self._settings.op_timeout)
        else:
            line.sendall(wire)
        return [self._receive(connection, parser, deadline) for _ in commands]

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
        return max(LONG_ENOUGH, deadline - self._monotonic())

    @property
    def clustered(self) -> bool:
        """Whether the server refuses commands whose keys lie in several slots."""
        return self._reception.clustered

    def connections(self) -> tuple[int, int]:
        """Return how many pooled connections are idle and how many are used."""
        made = len(self.pool._connections)
        idle = sum(connection is not None for connection in list(self.pool.pool.queue))
        return idle, made - idle

    def close(self) -> None:
        """Close all connections."""
        with suppress(StoreUnavailable), translated():
            self.pool.disconnect()


def _unavailable(error: Exception) -> StoreUnavailable:
    metrics.connection_errors.labels(_kind(error)).inc()
    return StoreUnavailable(f"{type(error).__name__}: {error}")


def _kind(error: Exception) -> str:
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return "timeout"
    if isinstance(error, ResponseError):
        return "response"
    return "pool" if "No connection available" in str(error) else "connection"
