"""How the process of a job is started: in a session of its own, beside the worker that was asked for it."""

from __future__ import annotations

import contextlib
import os
import posix
import signal
import sys
from pathlib import Path

from shivx.accounts.offload import off_hub

SOURCE_ROOT = Path(__file__).resolve().parents[2]
# A worker's numbers are its own, and sockets that gunicorn hands on are no business of a job.
DROPPED = ("PROMETHEUS_MULTIPROC_DIR", "GUNICORN_FD", "LISTEN_FDS", "LISTEN_PID")
# gunicorn and shells ignore or block some of these, which would be inherited.
DEFAULT_SIGNALS = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGPIPE,
    signal.SIGQUIT,
)


def start(module: str, *words: str) -> None:
    """Run *module* with *words*, with this program's settings and log; it goes on when this process ends.

    Raises:
        OSError: the system starts no process.
    """
    off_hub(lambda: _start(module, words))


def _start(module: str, words: tuple[str, ...]) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in DROPPED}
    child = posix.posix_spawn(  # not by `subprocess`: gevent's works in the main thread only
        sys.executable,
        [sys.executable, "-P", "-m", "shivx.jobs.detached", module, *words],
        {**environment, "PYTHONPATH": str(SOURCE_ROOT)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=DEFAULT_SIGNALS,
    )
    with contextlib.suppress(ChildProcessError):  # gunicorn's master waits for whatever ends
        posix.waitpid(child, 0)
