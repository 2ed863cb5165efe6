"""The Valkey process as its keeper sees it: started, started again, taken along."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

from shivx.embedded.errors import EmbeddedUnavailable
from shivx.embedded.paths import RuntimeDir

# Seconds to wait before each new try after deaths in a row; after the last the keeper gives up. A server
# that had lived for STABLE_SECONDS begins anew.
RESTART_DELAYS = (0.0, 0.1, 0.2, 0.4, 0.8)
STABLE_SECONDS = 10.0
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing should be

OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    "maxmemory": "256mb",
    # Not allkeys-*: what never expires (epoch, sequence, versions) must not vanish, or all entries under it
    # are lost with it. Not volatile-ttl: leases and limit windows, which live for seconds, would go first and
    # let loads and requests through. The longest unused goes first: cold cached values.
    "maxmemory-policy": "volatile-lru",
}


class Server:
    """One Valkey on a Unix socket, without persistence.

    Args:
        binary: the program.
        runtime: where its socket and log are; also the working directory of this process.
    """

    def __init__(self, binary: Path, runtime: RuntimeDir) -> None:
        files = {"unixsocket": runtime.server_socket.name, "logfile": runtime.log.name}
        options = [word for name, value in (OPTIONS | files).items() for word in (f"--{name}", value)]
        self._command = [str(binary), *options]
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._deaths_in_a_row = 0
        self.deaths = 0
        self.start_at: float | None = 0.0
        """When it is to be started, on the monotonic clock; None while it runs."""

    def tend(self) -> str | None:
        """Start the server if it does not run and its turn has come.

        Returns:
            what happened, for the log; None if nothing did.

        Raises:
            EmbeddedUnavailable: it can't be run, or died too often in a row.
        """
        if self._process is not None:
            status = self._process.poll()
            return None if status is None else self._note_death(status)
        if self.start_at is None or time.monotonic() < self.start_at:
            return None
        self._start()
        return f"started {' '.join(self._command)}"

    def kill(self) -> None:
        """End it at once and for good. It keeps nothing on disk, so there is nothing to end in order."""
        self.start_at = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        keeper = os.getpid()
        try:
            self._process = subprocess.Popen(  # noqa: S603 (the program was found in an installed package)
                self._command,
                stdin=subprocess.DEVNULL,
                preexec_fn=lambda: _die_with(keeper),  # noqa: PLW1509 (the other thread sleeps in flock)
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedUnavailable(f"this machine does not run its program: {error}") from error
        self._started_at = time.monotonic()
        self.start_at = None

    def _note_death(self, status: int) -> str:
        self._process = None
        self.deaths += 1
        now = time.monotonic()
        if now - self._started_at >= STABLE_SECONDS:
            self._deaths_in_a_row = 0
        if self._deaths_in_a_row == len(RESTART_DELAYS):
            raise EmbeddedUnavailable(f"it died again and again, the last time {_how(status)}")
        delay = RESTART_DELAYS[self._deaths_in_a_row]
        self._deaths_in_a_row += 1
        self.start_at = now + delay
        return f"the server died {_how(status)}; starting it again in {delay:g} s"


def _die_with(keeper: int) -> None:
    """Ask the kernel to kill this process when *keeper*'s main thread, which forked it, is gone."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:  # it went before the kernel knew
        os._exit(1)


def _how(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
