"""A real HAProxy for tests, with the configuration of deploy/: private, on a loopback port."""

from __future__ import annotations

import csv
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.processes import free_port, spawn, terminate
from tests.servers import ServerAbsent
from tests.service import ROOT
from tests.waiting import until

SHIPPED = ROOT / "deploy/haproxy/haproxy.cfg"
DEBIAN_PROGRAM = "/usr/sbin/haproxy"  # not on everybody's PATH
START_SECONDS = 15.0
NOTICE_SECONDS = 60.0
OWN = "global\n    stats socket {folder}/stats\n    log stdout format raw daemon warning\n"


def program_of_haproxy() -> str:
    """Return where it is. Raises ServerAbsent: it is not installed."""
    found = shutil.which("haproxy") or shutil.which(DEBIAN_PROGRAM)
    if found is None:
        raise ServerAbsent("no haproxy on this machine: apt-get install haproxy")
    return found


class HAProxy:
    """One in front of three *origins*, HOST:PORT, while the with block lasts.

    Raises:
        ServerAbsent: it is not installed.
        AssertionError: it does not like its configuration.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self.port = free_port()
        self._program = program_of_haproxy()
        self._folder = Path(tempfile.mkdtemp(prefix="shivx-haproxy-", dir="/tmp"))
        text = SHIPPED.read_text().replace("bind :80\n", f"bind 127.0.0.1:{self.port}\n")
        for number, origin in enumerate(origins, 1):
            text = text.replace(f"127.0.0.1:800{number}\n", f"{origin}\n")
        self._config = self._folder / "haproxy.cfg"
        self._config.write_text(text.replace("global\n", OWN.format(folder=self._folder), 1))

    @property
    def pids(self) -> frozenset[int]:
        """The number of the process, as `SharedServers.others` asks for it."""
        return frozenset({self._process.pid})

    def __enter__(self) -> Self:
        """Start it; return when it listens and has all origins for well."""
        log = self._folder / "log"
        try:
            check(self._config)
            command = [self._program, "-db", "-f", str(self._config)]
            self._process = spawn(command, log, on_parent_death=signal.SIGTERM)
            until(lambda: self._process.poll() is not None or self._listens(), "it listens", START_SECONDS)
            assert self._process.poll() is None, log.read_text()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        terminate(self._process)
        shutil.rmtree(self._folder)

    def figures(self) -> dict[str, dict[str, str]]:
        """Return what it tells of each server, and of all of them as ``BACKEND``, by the names it uses."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(START_SECONDS)
            line.connect(str(self._folder / "stats"))
            line.sendall(b"show stat\n")
            text = line.makefile("r").read()
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return {row["svname"]: row for row in rows if row["pxname"] == "shivx"}

    def sent_again(self) -> int:
        """Return how many requests were sent a second time, to whichever server."""
        told = self.figures()["BACKEND"]
        return int(told["wretr"]) + int(told["wredis"])

    def until_down(self, server: str) -> None:
        """Wait until it has noticed that *server*, ``one``, ``two`` or ``three``, does not answer."""
        until(lambda: self._state(server).startswith("DOWN"), f"{server} is known to be down", NOTICE_SECONDS)

    def until_up(self, server: str) -> None:
        """Wait until it has noticed that *server* answers."""
        until(lambda: self._state(server) == "UP", f"{server} is known to be up", NOTICE_SECONDS)

    def _state(self, server: str) -> str:
        return self.figures()[server]["status"]

    def _listens(self) -> bool:
        try:
            return all(self._state(server) == "UP" for server in ("one", "two", "three"))
        except OSError:
            return False


def check(config: Path = SHIPPED) -> None:
    """Let it read *config*.

    Raises:
        AssertionError: something in it is wrong, or worth a warning.
    """
    tried = subprocess.run(
        [program_of_haproxy(), "-c", "-V", "-dW", "-f", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr


def noticing_seconds() -> float:
    """Return how long the shipped configuration may send requests to an instance that is not ready."""
    (interval, falls) = re.findall(r"default-server check inter (\d+)s fall (\d+)", SHIPPED.read_text())[0]
    return float(interval) * int(falls)
