"""Faults of a Redis, real ones: each is begun, does its harm while a test looks on, and is ended."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from cache_ext import TieredCache
from cache_ext.testing import FaultProxy
from tests.processes import spawn
from tests.servers import RunningServer, ServerAbsent
from tests.waiting import until

PASSWORD = "open-sesame"
ENDLESS = b"*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n"
LOADING_KEYS = 20_000
CLOCK_TOLERANCE = 60.0  # seconds; steps are of an hour
LOAD_DELAY_US = 2_000  # microseconds a key: loading takes half a minute, unless told otherwise


class FaultStage:
    """One cache behind a proxy, which suffers, and another that goes straight to the same server.

    Args:
        server: the test's own.
        make_cache: opens caches of one namespace.
        settings: of the cache that suffers.
    """

    def __init__(
        self, server: RunningServer, make_cache: Callable[..., TieredCache], **settings: object
    ) -> None:
        self.server = server
        self.proxy = FaultProxy(server.url)
        self._make_cache = make_cache
        self.here = make_cache(self.proxy.url, **settings)
        self._secret = {name: settings[name] for name in ("redis_password",) if name in settings}
        self.there = make_cache(server.url, **self._secret)

    def fresh(self) -> TieredCache:
        """Return a cache that has nothing in L1."""
        return self._make_cache(self.server.url, **self._secret)

    def admin(self, **options: Any) -> redis.Redis:
        """Return a client of the server, past the proxy."""
        return redis.Redis.from_url(self.server.url, socket_timeout=5.0, **options)


@contextmanager
def refused(stage: FaultStage) -> Iterator[None]:
    """Nothing listens."""
    stage.proxy.refuse()
    yield
    stage.proxy.heal()


@contextmanager
def dead(stage: FaultStage) -> Iterator[None]:
    """The server is killed, and starts empty."""
    stage.server.kill()
    yield
    stage.server.start()


@contextmanager
def hanging_line(stage: FaultStage) -> Iterator[None]:
    """Connections are accepted and kept, and nothing passes."""
    stage.proxy.hang()
    yield
    stage.proxy.heal()


@contextmanager
def stopped(stage: FaultStage) -> Iterator[None]:
    """The server's process stands still."""
    stage.server.pause()
    yield
    stage.server.resume()


@contextmanager
def vanished(stage: FaultStage) -> Iterator[None]:
    """The peer is gone, and no end was told."""
    stage.proxy.half_open()
    yield
    stage.proxy.heal()


@contextmanager
def slow(stage: FaultStage, seconds: float) -> Iterator[None]:
    """Every reply comes late."""
    stage.proxy.delay(seconds)
    yield
    stage.proxy.heal()


@contextmanager
def cut_in_a_reply(stage: FaultStage) -> Iterator[None]:
    """Each connection ends in the middle of a reply."""
    stage.proxy.cut(after=7, lasting=True)
    yield
    stage.proxy.heal()


@contextmanager
def replica(stage: FaultStage) -> Iterator[None]:
    """The server has become a replica: it answers reads and refuses to write."""
    with stage.admin() as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield
        admin.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def loading(stage: FaultStage) -> Iterator[None]:
    """The server has been started again and is reading a large snapshot."""
    server = stage.server
    with stage.admin() as admin:
        for first in range(0, LOADING_KEYS, 1000):
            admin.mset({f"ballast:{first + number}": "x" for number in range(1000)})
        admin.save()
    server.kill()
    slowly = ("--key-load-delay", str(LOAD_DELAY_US), "--loading-process-events-interval-bytes", "1024")
    server._process = spawn([*server._command(), *slowly], server.log, cwd=server.directory)
    until(lambda: _first_line(server).startswith(b"-LOADING"), "it is loading")
    yield
    assert _first_line(server).startswith(b"-LOADING"), "it was over before it was ended"
    assert server.ask("CONFIG SET key-load-delay 0") == b"+OK"
    until(lambda: _first_line(server) == b"+PONG", "it has loaded")


def _first_line(server: RunningServer) -> bytes:
    try:
        return server.ask("PING")
    except OSError:  # it does not listen yet
        return b""


@contextmanager
def full(stage: FaultStage) -> Iterator[None]:
    """Memory is used up, and nothing may be evicted."""
    with stage.admin() as admin:
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", "1")
        yield
        admin.config_set("maxmemory", "0")


@contextmanager
def locked(stage: FaultStage) -> Iterator[None]:
    """A password is wanted that clients do not give, or another than they give."""
    with stage.admin(password=stage.here.settings.redis_password) as admin:
        admin.config_set("requirepass", PASSWORD)
    with stage.admin(password=PASSWORD) as admin:
        admin.client_kill_filter(_type="normal", skipme=True)
        admin.client_kill_filter(_type="pubsub")
        yield
        admin.config_set("requirepass", stage.here.settings.redis_password or "")


@contextmanager
def busy(stage: FaultStage) -> Iterator[None]:
    """A script runs for ever; everyone else is told BUSY."""
    with stage.admin() as admin:
        admin.config_set("busy-reply-threshold", "50")
    with socket.create_connection(("127.0.0.1", stage.server.port), 5.0) as line:
        line.sendall(ENDLESS)
        until(lambda: stage.server.ask("PING").startswith(b"-BUSY"), "it is busy")
        yield
        assert stage.server.ask("SCRIPT KILL") == b"+OK"


@contextmanager
def forgotten_scripts(stage: FaultStage) -> Iterator[None]:
    """The server has forgotten all scripts, once."""
    assert stage.server.ask("SCRIPT FLUSH") == b"+OK"
    yield


@contextmanager
def emptied(stage: FaultStage) -> Iterator[None]:
    """Somebody has emptied the server."""
    assert stage.server.ask("FLUSHALL") == b"+OK"
    yield


@contextmanager
def no_connections(stage: FaultStage) -> Iterator[None]:
    """Other work holds all connections of the process."""
    pool = stage.here.gateway.way.server.pool
    taken = [pool.get_connection() for _ in range(stage.here.settings.pool_size - 1)]
    yield
    for connection in taken:
        pool.release(connection)


@contextmanager
def stepped(stage: FaultStage, seconds: float) -> Iterator[None]:
    """The server's wall clock is set forward, or back, and later put right."""
    assert isinstance(stage.server, SteppableServer)
    stage.server.step_clock(seconds)
    yield
    stage.server.step_clock(0.0)


class SteppableServer(RunningServer):
    """A server whose wall clock can be set while it runs; its monotonic clock goes on as it was.

    Valkey only: the allocator of Debian's redis-server asks for the time before libfaketime can tell it.

    Raises:
        ServerAbsent: this machine lacks libfaketime.
    """

    def step_clock(self, seconds: float) -> None:
        """Let its wall clock be *seconds* ahead of the true time."""
        offset = self.directory / "offset.new"
        offset.write_text(f"{seconds:+.0f}s\n")
        offset.replace(self._offset)
        expected = time.time() + seconds

        def is_set() -> bool:
            with redis.Redis.from_url(self.url) as client:
                return abs(client.time()[0] - expected) < CLOCK_TOLERANCE

        until(is_set, "its clock is set")

    def _command(self) -> list[str]:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if library is None:
            raise ServerAbsent("no libfaketime on this machine: apt-get install faketime")
        if not self._offset.exists():
            self._offset.write_text("+0s\n")
        variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return ["env", *(f"{name}={value}" for name, value in variables.items()), *super()._command()]

    @property
    def _offset(self) -> Path:
        return self.directory / "offset"
