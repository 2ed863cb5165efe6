"""Locks on files that are never waited for in the kernel, where waiting would stop all greenlets."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable


def take_lock(
    descriptor: int, patience: float, retry: float, monotonic: Callable[[], float] = time.monotonic
) -> bool:
    """Lock the file, which the kernel unlocks when its holder ends; return whether it could be had.

    Args:
        patience: seconds to wait for it; 0 tries once.
        retry: seconds between attempts.
        monotonic: the clock, seconds.
    """
    deadline = monotonic() + patience
    while not _attempt(descriptor):
        if monotonic() >= deadline:
            return False
        time.sleep(retry)
    return True


def free_lock(descriptor: int) -> None:
    """Unlock the file, for a child too that was forked meanwhile and shares the descriptor."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _attempt(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
