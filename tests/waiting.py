"""The one place where tests wait for something that nobody can signal: a bounded poll."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_SECONDS = 0.005  # short beside the events waited for (a fork, a connect), long beside one check
REST = 4.0
"""A check is followed by rest, so many times its processor time: a look through all processes takes much."""


def until(condition: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Return as soon as *condition* is true.

    Args:
        condition: asked again and again; cheap and without side effect.
        what: the state waited for, for the message.
        timeout: seconds until giving up.
    Raises:
        TimeoutError: it was still false at the end.
    """
    deadline = time.monotonic() + timeout
    while True:
        used = time.thread_time()
        if condition():
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout} s: {what}")
        time.sleep(max(POLL_SECONDS, REST * (time.thread_time() - used)))
