"""Child processes that die with pytest, and the loopback ports they listen on."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Below Linux's range for outgoing connections (32768 and up): a client that retries while the server is
# down could otherwise be given the server's own port and connect to itself.
PORTS = range(20000, 32000)
TRIES = 50
STOP_SECONDS = 5.0

# A program instead of preexec_fn, which may deadlock when pytest has threads.
DIE_WITH_PARENT = """
import ctypes, os, sys
PR_SET_PDEATHSIG = 1
parent, number, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number) != 0:
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
if os.getppid() != parent:
    sys.exit("pytest is gone")
os.execvp(command[0], command)
"""


def free_port() -> int:
    """Return a loopback TCP port that nothing listens on at the moment."""
    for port in random.SystemRandom().sample(PORTS, TRIES):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"{TRIES} ports tried, none free")


def spawn(
    command: Sequence[str | os.PathLike[str]],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_parent_death: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start *command* in its own session; it gets *on_parent_death* when pytest ends, however that happens.

    Args:
        command: the program and its arguments.
        log: the file that its output is appended to.
        cwd: its working directory, pytest's own if None.
        env: its whole environment, pytest's own if None.
        on_parent_death: the signal it gets then.
    Raises:
        RuntimeError: not in the main thread. The kernel ties the signal to the thread that started the child.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("start servers in the main thread: they die with the thread that starts them")
    launcher = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        DIE_WITH_PARENT,
        str(os.getpid()),
        str(int(on_parent_death)),
    ]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*launcher, *map(os.fspath, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )


def terminate(process: subprocess.Popen[bytes], timeout: float = STOP_SECONDS) -> None:
    """Stop *process* with SIGTERM, with SIGKILL after *timeout* seconds, and reap it."""
    if process.poll() is None:
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a stopped process sees SIGTERM only when it goes on
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Process:
    """One process of this machine, as /proc shows it. `ended`: it is a zombie."""

    pid: int
    parent: int
    session: int
    ended: bool
    command: str


def processes() -> Iterator[Process]:
    """Yield the processes that run now."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _, session, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        yield Process(int(folder.name), int(parent), int(session), state in "ZX", command.strip())
