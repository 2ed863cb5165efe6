"""The Unix sockets of server and keeper as callers see them: who listens, and what the keeper says."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from shivx.embedded.deadline import Deadline

READY = b"ready"
MAX_ANSWER_BYTES = 4096


def accepts(path: Path) -> bool:
    """Return at once whether a process listens at *path*; one with a full backlog is busy, not absent."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) in (0, errno.EAGAIN)


def ask_keeper(path: Path, deadline: Deadline) -> bytes:
    """Ask the keeper that listens at *path*; else like `hear_keeper`."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(deadline.left())
        try:
            line.connect(str(path))
        except (FileNotFoundError, ConnectionError):
            return b""
        return hear_keeper(line, deadline)


def hear_keeper(line: socket.socket, deadline: Deadline) -> bytes:
    """Return what the keeper says once it knows.

    Returns:
        `READY`, the reason why the server cannot be had, or nothing if there is no keeper (any more).

    Raises:
        TimeoutError: it said nothing by *deadline*.
    """
    line.settimeout(deadline.left())
    try:
        return line.recv(MAX_ANSWER_BYTES)
    except ConnectionError:
        return b""
