"""The whole service for tests: gunicorn with workers, in a process group and instance folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.processes import free_port, processes, spawn
from tests.waiting import until

ROOT = Path(__file__).parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 20.0  # draining, then the embedded Valkey's linger
ANSWER_SECONDS = 10.0
GUNICORN = Path(sys.executable).with_name("gunicorn")  # of the virtual environment
SHOWN_LOG_CHARACTERS = 20_000
# No proxy stands between a test and its server, whatever the developer's environment says.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    """What the service answered; `headers` are read without regard to case."""

    status: int
    headers: Message
    body: bytes


class GunicornService:
    """``gunicorn -c gunicorn.conf.py wsgi:app`` while the with block lasts. Use from the main thread.

    The service sees neither the developer's SHIVX_ variables nor a `.env`: it runs in a folder of its own.
    On failure, of the service or of the block, its log is printed.

    Args:
        workers: how many worker processes.
        worker_class: gunicorn's name of one, say ``gthread``; what gunicorn.conf.py says if None.
        env: further environment variables; None as value removes one.
        options: further command-line options of gunicorn.
        bind: HOST:PORT; a free loopback port if None.
        root: the folder with gunicorn.conf.py and wsgi.py.
        folder: where it runs and keeps its instance folder; stays. A new one that goes with it if None.
        app: what gunicorn serves, MODULE:NAME.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        worker_class: str | None = None,
        env: Mapping[str, str | None] | None = None,
        options: Sequence[str] = (),
        bind: str | None = None,
        root: Path = ROOT,
        folder: Path | None = None,
        app: str = "wsgi:app",
    ) -> None:
        self._app = app
        self._bind = bind or f"127.0.0.1:{free_port()}"
        self._root = root
        self._given_folder = folder
        self._changes = {
            "SHIVX_BIND": self._bind,
            "WEB_CONCURRENCY": str(workers),
            "SHIVX_LIMIT_ANONYMOUS": "1000000",  # tests that ask often are not about limits
            "SHIVX_CACHE_WARMING_ENABLED": "false",  # nor about models, which would be trained
            "SHIVX_DRAIN_SECONDS": "0",  # nor do balancers have to notice that a service ends
            **(env or {}),
        }
        self._options = [*(["--worker-class", worker_class] if worker_class else []), *options]
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT that it listens on."""
        return self._bind

    @property
    def url(self) -> str:
        """The address, without slash at the end."""
        return f"http://{self._bind}"

    @property
    def pid(self) -> int:
        """The number of gunicorn's master process."""
        return self._master().pid

    @property
    def pids(self) -> frozenset[int]:
        """That number, as `SharedServers.others` asks for it."""
        return frozenset({self.pid})

    @property
    def running(self) -> bool:
        """Whether the master process lives."""
        return self._master().poll() is None

    @property
    def log(self) -> str:
        """What the service has logged so far."""
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        """Start the service and return when all workers are there and `/readyz` answers 200.

        Raises:
            RuntimeError: it ended.
            TimeoutError: it is not ready within 30 s.
        """
        self.instance_dir = self._given_folder or Path(tempfile.mkdtemp(prefix="shivx-service-", dir="/tmp"))
        self._log = self.instance_dir / "gunicorn.log"
        self._process = spawn(
            self._command(),
            self._log,
            cwd=self.instance_dir,
            env=self.environment,
            on_parent_death=signal.SIGTERM,
        )
        until(self._is_ready_or_ended, "the service is ready", START_SECONDS)
        if self._process.poll() is not None:
            raise RuntimeError(f"the service ended with exit status {self._process.returncode}")

    def stop(self) -> None:
        """End the service with SIGTERM and remove its folder, unless that was given.

        Raises:
            AssertionError: a process of it is left after 20 s; it is killed.
        """
        if self._process is None:
            return
        master, self._process = self._process, None
        family = self._family(master.pid)
        master.send_signal(signal.SIGTERM)
        try:
            master.wait(STOP_SECONDS)
            until(lambda: not self._family(master.pid, family), "all processes are gone", STOP_SECONDS)
        except (subprocess.TimeoutExpired, TimeoutError):
            left = self._family(master.pid, family)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            master.wait()
            raise AssertionError(f"{STOP_SECONDS} s after SIGTERM there are {left}") from None
        finally:
            if self._given_folder is None:
                shutil.rmtree(self.instance_dir)

    def kill(self) -> None:
        """End the master and all workers at once, as a host that dies does; what they listened on is free."""
        master = self.pid
        os.killpg(master, signal.SIGKILL)
        self._master().wait()
        until(lambda: not self._family(master), "all processes are gone", STOP_SECONDS)

    def __enter__(self) -> Self:
        """Start the service."""
        try:
            self.start()
        except BaseException:
            self._show_log()
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the service; print its log if the block failed."""
        if error is not None:
            self._show_log()
        self.stop()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a GET for *path*, on a new connection; an error status is an answer like others.

        Raises:
            OSError: no answer within 10 s.
        """
        return self.send("GET", path, headers=headers)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send any request; see `get`."""
        request = urllib.request.Request(self.url + path, body, dict(headers or {}), method=method)
        try:
            with DIRECT.open(request, timeout=ANSWER_SECONDS) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as response:
            with response:
                return Answer(response.code, response.headers, response.read())

    def run(
        self, *command: str | os.PathLike[str], env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end beside the service: same settings but for *env*, same folder.

        Args:
            command: a program of the virtual environment, and its arguments.
            stdin: what it can read.
        Raises:
            TimeoutExpired: it runs for more than 30 s.
        """
        program, *arguments = command
        return subprocess.run(
            [GUNICORN.with_name(Path(program).name), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
            cwd=self.instance_dir,
            env=self.environment | (env or {}),
        )

    def start_again(self) -> subprocess.CompletedProcess[str]:
        """Try to start a second service on the same address and folder, and return how that ended."""
        return self.run(*self._command())

    def signal(self, number: signal.Signals) -> None:
        """Send the master a signal: HUP reloads, TTIN adds a worker, TTOU removes one."""
        self._master().send_signal(number)

    def worker_pids(self) -> list[int]:
        """Return the numbers of the worker processes that run now."""
        master = self.pid
        return sorted(found.pid for found in processes() if found.parent == master and not found.ended)

    def _master(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the service does not run")
        return self._process

    def _is_ready_or_ended(self) -> bool:
        if self._master().poll() is not None:
            return True
        try:
            return self.get("/readyz").status == 200 and len(self.worker_pids()) >= self._workers
        except OSError:
            return False

    def _command(self) -> list[str | os.PathLike[str]]:
        return [GUNICORN, "-c", self._root / "gunicorn.conf.py", *self._options, self._app]

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that it runs with."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SHIVX_") and name not in ("GUNICORN_CMD_ARGS", "PYTHONWARNINGS")
        }
        own = {"SHIVX_INSTANCE_DIR": str(self.instance_dir / "instance"), "PYTHONPATH": str(self._root)}
        merged = {**inherited, **own, **self._changes}
        return {name: value for name, value in merged.items() if value is not None}

    def _family(self, session: int, known: Collection[int] = ()) -> set[int]:
        """Return the processes of the service that run.

        They are those of its session, those that name its folder (the keeper of the embedded Valkey does),
        the children of both (Valkey itself), and those *known* from an earlier call.
        """
        folder = str(self.instance_dir)
        running = [found for found in processes() if not found.ended]
        own = {found.pid for found in running if found.session == session or folder in found.command}
        return {found.pid for found in running if {found.pid, found.parent} & own or found.pid in known}

    def _show_log(self) -> None:
        print(f"--- log of the service on {self._bind} ---\n{self.log[-SHOWN_LOG_CHARACTERS:]}\n--- end ---")
