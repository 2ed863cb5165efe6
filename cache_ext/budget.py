"""How much time one request may still spend on Redis, however many commands it sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Budget:
    """Seconds left. Commands of one request run one after another, so it needs no lock."""

    __slots__ = ("left",)

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    def spend(self, seconds: float) -> None:
        """Take *seconds* off what is left."""
        self.left -= seconds


_current: ContextVar[Budget | None] = ContextVar("cache_ext_budget", default=None)


def current_budget() -> Budget | None:
    """Return the budget of the request under way, None outside of any."""
    return _current.get()


@contextmanager
def budget(seconds: float) -> Iterator[Budget]:
    """Give the body *seconds* for Redis in all; inside another budget, what is left of that one."""
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    mine = Budget(seconds)
    reset = _current.set(mine)
    try:
        yield mine
    finally:
        _current.reset(reset)
