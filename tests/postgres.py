"""A real PostgreSQL server for tests: private, on a Unix socket alone, gone with pytest."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.processes import spawn
from tests.servers import START_SECONDS, ServerAbsent
from tests.waiting import until

DEBIAN_PROGRAMS = "/usr/lib/postgresql"  # not on the PATH there: a folder for each version
NOBODY = 65534  # PostgreSQL refuses to run as root
STOP_SECONDS = 10.0
USER = "shivx"
HASTE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB")


def find_programs() -> Path:
    """Return the folder with ``initdb``, ``postgres`` and ``psql``, of the newest version there is.

    Raises:
        ServerAbsent: PostgreSQL is not installed.
    """
    versions = sorted(Path(DEBIAN_PROGRAMS).glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = versions[-1] if versions else shutil.which("initdb")
    if found is None:
        raise ServerAbsent("no PostgreSQL on this machine: apt-get install postgresql")
    return Path(found).resolve().parent


class PostgresServer:
    """One PostgreSQL server in a folder of its own; whoever may enter that folder may do everything.

    It runs as nobody if pytest runs as root. Use from the main thread.

    Raises:
        ServerAbsent: PostgreSQL is not installed.
    """

    def __init__(self) -> None:
        self._programs = find_programs()
        # Not in pytest's tmp_path: the path of a Unix socket is limited to some 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="shivx-postgres-", dir="/tmp"))
        self._data = self.directory / "data"
        if os.geteuid() == 0:
            os.chown(self.directory, NOBODY, NOBODY)
        try:
            self._make_data()
            self.start()
        except BaseException:
            shutil.rmtree(self.directory)
            raise

    @property
    def pids(self) -> frozenset[int]:
        """The number of the process that pytest started."""
        return frozenset({self._process.pid})

    def url(self, database: str) -> str:
        """Return the address of *database*, as SQLAlchemy writes it."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self.directory}"

    def program(self, name: str) -> Path:
        """Return where PostgreSQL's own program *name* is."""
        return self._programs / name

    def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"test_{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name} STRATEGY file_copy")
        return name

    def drop(self, database: str) -> None:
        """Remove *database*, whoever is still connected to it."""
        self.run(f"DROP DATABASE {database} WITH (FORCE)")

    def run(self, statement: str, database: str = "postgres") -> str:
        """Run *statement* in *database* and return what it answers: a line a row, bars between the columns.

        Raises:
            CalledProcessError: PostgreSQL refuses it.
        """
        where = ["--host", self.directory, "--username", USER, "--dbname", database]
        quiet = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        return subprocess.check_output(
            [self._programs / "psql", *where, *quiet, "--command", statement],
            stdin=subprocess.DEVNULL,
            text=True,
            cwd="/",
        ).strip()

    def close(self) -> None:
        """End the server, whoever is still connected, and remove its folder."""
        self.stop()
        shutil.rmtree(self.directory)

    def start(self) -> None:
        """Start the server, be it anew, and return when it answers."""
        settings = (*HASTE, "listen_addresses=", f"unix_socket_directories={self.directory}")
        options = [part for setting in settings for part in ("-c", setting)]
        command = [self._programs / "postgres", "-D", self._data, *options]
        self._process = spawn(
            [*self._unprivileged(), *command],
            self.directory / "server.log",
            cwd=Path("/"),
            on_parent_death=signal.SIGQUIT,  # ends at once; SIGKILL would leave shared memory behind
        )
        until(self._answers_or_ended, "PostgreSQL answers", START_SECONDS)
        if self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL did not start:\n{(self.directory / 'server.log').read_text()}")

    def stop(self) -> None:
        """End the server, whoever is still connected."""
        self._process.send_signal(signal.SIGINT)  # SIGTERM would wait until the last client has gone
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _make_data(self) -> None:
        subprocess.run(
            [
                *(self._unprivileged()),
                *(self._programs / "initdb", "--pgdata", self._data, "--username", USER, "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
        )

    def _unprivileged(self) -> list[str]:
        """Return what starts a program as nobody, if pytest runs as root.

        The kernel forgets the parent-death signal when a process changes its user, so it is set anew after.
        """
        if os.geteuid() != 0:
            return []
        user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return ["setpriv", *user, "--pdeathsig", "QUIT"]

    def _answers_or_ended(self) -> bool:
        if self._process.poll() is not None:
            return True
        ready = [self._programs / "pg_isready", "--quiet", "--host", self.directory]
        return subprocess.run(ready, check=False, stdin=subprocess.DEVNULL).returncode == 0
