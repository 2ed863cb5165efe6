"""The servers that are measured: the service, and its peers under the same gunicorn settings."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.stage import wait_for
from tests.processes import free_port, processes
from tests.service import ANSWER_SECONDS, GUNICORN, ROOT, GunicornService

PATH = "/api/market/price/SOL-USDC"
KEYLESS = "100000000"
"""Requests a minute that everybody may make: the check is made, and never refuses."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """One that runs.

    Args:
        port: on loopback.
        workers: the numbers of its worker processes.
    """

    port: int
    workers: tuple[int, ...]

    def cpu(self) -> float:
        """Return the seconds of processor time that its workers have had."""
        used = 0
        for pid in self.workers:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used += int(fields[11]) + int(fields[12])
        return used / TICKS

    def get(
        self, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, fields and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, PATH, headers=headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()


class Servers:
    """Starts servers; all end with the with block.

    Args:
        folder: where files of theirs may lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all servers."""
        self._closing.close()

    def service(self, redis_url: str, *, workers: int = 1, **settings: str) -> tuple[GunicornService, Server]:
        """Start the service on a Redis; *settings* by their names without ``SHIVX_``."""
        env = {f"SHIVX_{name}": value for name, value in settings.items()}
        limits = {f"SHIVX_LIMIT_{tier}": KEYLESS for tier in ("ANONYMOUS", "AUTHENTICATED", "SERVICE")}
        service = GunicornService(
            workers=workers,
            env={"SHIVX_REDIS_URL": redis_url, "SHIVX_SECRET_KEYS": "measure" * 8, **limits, **env},
        )
        self._closing.enter_context(service)
        port = int(service.url.rpartition(":")[2])
        return service, Server(port, tuple(service.worker_pids()))

    def peer(self, name: str, body: bytes, redis_url: str) -> Server:
        """Start the application *name* of `door_peers`, which answers with *body*."""
        kept, port = self._folder / f"{name}.body", free_port()
        kept.write_bytes(body)
        env = os.environ | {"DOOR_BODY": str(kept), "DOOR_REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
        settings = ROOT / "benchmarks" / "door_gunicorn.py"
        command = [GUNICORN, "-c", settings, "-b", f"127.0.0.1:{port}", "-w", "1"]
        with (self._folder / f"{name}.log").open("wb") as log:
            master = subprocess.Popen(
                [*command, f"benchmarks.door_peers:{name}()"], env=env, stdout=log, stderr=log
            )
        self._closing.callback(master.wait)
        self._closing.callback(master.terminate)
        started = Server(port, ())
        wait_for(lambda: master.poll() is not None or _answers(started), f"{name} answers")
        if master.poll() is not None:
            sys.exit((self._folder / f"{name}.log").read_text())
        found = tuple(each.pid for each in processes() if each.parent == master.pid and not each.ended)
        return Server(port, found)


def _answers(server: Server) -> bool:
    try:
        return server.get()[0] == 200
    except OSError:
        return False
