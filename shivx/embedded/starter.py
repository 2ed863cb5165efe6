"""How a keeper is started: detached from the process that happens to need it first."""

from __future__ import annotations

import contextlib
import os
import posix
import signal
import socket
import sys
import time
from pathlib import Path

from shivx.embedded.deadline import Deadline
from shivx.embedded.errors import EmbeddedUnavailable
from shivx.embedded.lines import accepts, hear_keeper
from shivx.embedded.locks import EXCLUSIVE, RETRY_SECONDS, open_lock, try_lock, unlock
from shivx.embedded.paths import RuntimeDir

# `-S`: the keeper needs the standard library and this package, nothing else, and starts in half the time.
PYTHON_OPTIONS = ("-P", "-S", "-m", "shivx.embedded.keeper")
SOURCE_ROOT = Path(__file__).resolve().parents[2]
# What Python and the program may need to run at all. No secret of the service goes along.
KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME")
# gunicorn and shells ignore some of these; what is ignored or blocked would be inherited.
DEFAULT_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)


class Starter:
    """Starts keepers for one instance folder, one at a time across all processes."""

    def __init__(self, instance_dir: Path, runtime: RuntimeDir, linger: float) -> None:
        self._arguments = (os.path.realpath(instance_dir), str(linger))
        self._runtime = runtime
        self._children: set[int] = set()

    def start(self, binary: Path, deadline: Deadline) -> bytes:
        """Start a keeper and return what it says: `READY`, or the reason why the server cannot be had.

        Nothing, and soon, if another process is doing just that or has done so.

        Raises:
            EmbeddedUnavailable: it ended without a word.
            TimeoutError: it said nothing by *deadline*. It may still come up later.
        """
        guard = open_lock(self._runtime.start_lock)
        try:
            if not try_lock(guard, EXCLUSIVE):
                time.sleep(min(RETRY_SECONDS, deadline.left()))
                return b""
            try:
                return self._start_unless_listening(binary, deadline)
            finally:
                unlock(guard)  # also in a child forked by another thread meanwhile
        finally:
            os.close(guard)

    def _start_unless_listening(self, binary: Path, deadline: Deadline) -> bytes:
        if accepts(self._runtime.control_socket):
            return b""
        for child in tuple(self._children):
            self._reap(child, os.WNOHANG)
        answer = self._run(binary, deadline)
        if not answer and not accepts(self._runtime.control_socket):
            raise EmbeddedUnavailable("its keeper ended at once")
        return answer

    def _run(self, binary: Path, deadline: Deadline) -> bytes:
        """Run the keeper's program, which forks the keeper and ends; return what that says, if anything."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                child = self._spawn(binary, theirs.fileno())
            self._children.add(child)
            options = os.WNOHANG
            try:
                answer = hear_keeper(ours, deadline)
                options = 0  # whether it spoke or died, the program has ended or is about to
            finally:
                self._reap(child, options)
        return answer

    def _spawn(self, binary: Path, line: int) -> int:
        """Run the keeper's program, in a session of its own so that Ctrl-C does not reach it.

        Not by `subprocess` or `os`: gevent's versions of them work in the main thread only.
        """
        log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        return posix.posix_spawn(
            sys.executable,
            [sys.executable, *PYTHON_OPTIONS, *self._arguments, str(binary)],
            {**environment, "PYTHONPATH": str(SOURCE_ROOT)},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, line, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self._runtime.log), log_flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=DEFAULT_SIGNALS,
        )

    def _reap(self, child: int, options: int) -> None:
        with contextlib.suppress(ChildProcessError):  # gunicorn's master waits for whatever ends
            if posix.waitpid(child, options) == (0, 0):
                return
        self._children.discard(child)
