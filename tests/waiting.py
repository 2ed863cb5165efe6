"""The one place where tests wait for something that nobody can signal: a bounded poll."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_SECONDS = 0.005  # short beside the events waited for (a fork, a connect), long beside one check


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
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout} s: {what}")
        time.sleep(POLL_SECONDS)
