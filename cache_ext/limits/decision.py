"""What is asked of the limiter, and what it says."""

from __future__ import annotations

import math
from typing import NamedTuple

SLICES = 60
"""Parts of a window that are counted each: a unit frees at most one of them later than it might."""
NEVER = -1


class Check(NamedTuple):
    """May *cost* units be had?

    Args:
        place: the Redis key of the subject's counts.
        bucket: that it lies in.
        limit: units within a window.
        cost: units, 0 to see what is left.
        width_ms: milliseconds of a slice.
    """

    place: str
    bucket: int
    limit: int
    cost: int
    width_ms: int


class Answer(NamedTuple):
    """The figures that a `Check` brings; times are Unix ms by the clock that counts.

    Args:
        now: when it was decided.
        left: units that are left.
        frees: when the next unit frees, 0 if all are free.
        ready: when as many as were wanted are free; 0 they were had, `NEVER` they exceed the limit.
    """

    now: int
    left: int
    frees: int
    ready: int


class Decision(NamedTuple):
    """Whether a request may pass, and what its answer tells of the limit.

    Args:
        allowed: it may.
        limit: units within a window.
        remaining: units that are left.
        reset: Unix second at which the next unit frees; now if any is left.
        retry_after: whole seconds after which it may be asked again, 0 if it is allowed.
        renews: whole seconds until the next unit frees, 0 if all are free.
        window: seconds.
        alone: decided without Redis.
    """

    allowed: bool
    limit: int
    remaining: int
    reset: int
    retry_after: int
    renews: int
    window: float
    alone: bool


def width_of(window: float) -> int:
    """Return the milliseconds of a slice of *window*, seconds."""
    return max(1, math.ceil(window * 1000 / SLICES))


def decide(answer: Answer, limit: int, window: float, *, alone: bool = False) -> Decision:
    """Return what *answer* means for a limit of *limit* units in *window* seconds."""
    now, left, frees, ready = answer
    reset = now // 1000 if left else -(-frees // 1000)
    renews = max(0, -(-(frees - now) // 1000)) if frees else 0
    if ready == 0:
        return Decision(True, limit, left, reset, 0, renews, window, alone)
    if ready == NEVER:
        ready = now + math.ceil(window * 1000)
    return Decision(False, limit, left, reset, max(1, -(-(ready - now) // 1000)), renews, window, alone)
