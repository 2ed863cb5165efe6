"""How much time one request may still spend on Redis, however many commands it sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Budget:
    """Seconds left. Commands of one request run one after another, so it needs no lock."""

    __slots__ = ("administrative", "left")

    def __init__(self, seconds: float, administrative: bool = False) -> None:
        self.left = seconds
        self.administrative = administrative

    def spend(self, seconds: float) -> None:
        """Take *seconds* off what is left."""
        self.left -= seconds


_current: ContextVar[Budget | None] = ContextVar("cache_ext_budget", default=None)


def current_budget() -> Budget | None:
    """Return the budget of the request under way, None outside of any."""
    return _current.get()


@contextmanager
def budget(seconds: float, *, administrative: bool = False) -> Iterator[Budget]:
    """Give the body *seconds* for Redis in all; inside another budget, what is left of that one.

    Args:
        administrative: the body does not work for the request under way, if there is one: *seconds* it is.
    """
    outer = _current.get()
    if outer is not None and not administrative:
        yield outer
        return
    mine = Budget(seconds, administrative)
    reset = _current.set(mine)
    try:
        yield mine
    finally:
        _current.reset(reset)
