"""Advisory locks on files (flock): they belong to an open file and end with the last process that has it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from shivx.embedded.deadline import Deadline

SHARED = fcntl.LOCK_SH
EXCLUSIVE = fcntl.LOCK_EX

# flock has no timeout, and a thread blocked in it could not be called back. The locks waited for here are
# held for milliseconds; gevent's `time.sleep` lets other greenlets run meanwhile.
RETRY_SECONDS = 0.005


def open_lock(path: Path) -> int:
    """Return a new descriptor of the lock file *path*, made if absent, closed in programs that we exec."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def try_lock(fd: int, mode: int) -> bool:
    """Take the lock, `SHARED` or `EXCLUSIVE`, if that needs no waiting; return whether it was taken."""
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock(fd: int, mode: int, deadline: Deadline) -> None:
    """Take the lock before *deadline*.

    Raises:
        TimeoutError: others still had it then.
    """
    while not try_lock(fd, mode):
        time.sleep(min(RETRY_SECONDS, deadline.left()))


def wait_until_free(fd: int) -> None:
    """Block, without bound, until nobody else has the lock; do not keep it."""
    fcntl.flock(fd, fcntl.LOCK_EX)
    unlock(fd)


def unlock(fd: int) -> None:
    """Give the lock back, in every process that shares this open file, say one forked meanwhile."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def is_current(fd: int, path: Path) -> bool:
    """Return whether *path* still is the file or directory that *fd* has open, not one made since."""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except OSError:  # removed, or *fd* closed by another thread
        return False
