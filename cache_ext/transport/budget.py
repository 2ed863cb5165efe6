"""How much time one request, or one call outside of any, may still spend on Redis in all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token


class Budget:
    """Seconds left. Commands of one request run one after another, so it needs no lock.

    Args:
        seconds: to begin with.
        administrative: it is that of work that no request waits for.
        of_call: it is that of one call to the cache, not of a whole request.
    """

    __slots__ = ("administrative", "deadline", "left", "of_call")

    def __init__(self, seconds: float, administrative: bool = False, of_call: bool = False) -> None:
        self.left = seconds
        self.administrative = administrative
        self.of_call = of_call
        self.deadline: float | None = None
        """While a command is under way: when it must be over, on the monotonic clock."""

    def spend(self, seconds: float) -> None:
        """Take *seconds* off what is left."""
        self.left -= seconds


_current: ContextVar[Budget | None] = ContextVar("cache_ext_budget", default=None)


def current_budget() -> Budget | None:
    """Return the budget of the request under way, None outside of any."""
    return _current.get()


class budget:  # noqa: N801 (used as a function; a generator costs three times as much)
    """Give the body *seconds* for Redis in all; inside another budget, what is left of that one.

    Args:
        administrative: the body does not work for the request under way, if there is one: *seconds* it is.
        of_call: the body is one call to the cache; loaders inside it run `unbudgeted`.
    """

    __slots__ = ("_mine", "_reset")

    def __init__(self, seconds: float, *, administrative: bool = False, of_call: bool = False) -> None:
        self._mine = Budget(seconds, administrative, of_call)
        self._reset: Token[Budget | None] | None = None

    def __enter__(self) -> Budget:
        outer = _current.get()
        if outer is not None and not self._mine.administrative:
            return outer
        self._reset = _current.set(self._mine)
        return self._mine

    def __exit__(self, *failure: object) -> None:
        if self._reset is not None:
            _current.reset(self._reset)


@contextmanager
def unbudgeted() -> Iterator[None]:
    """Run the body, a loader, without the budget of the call that needs it; that of a request goes on."""
    outer = _current.get()
    if outer is None or not outer.of_call:
        yield
        return
    reset = _current.set(None)
    try:
        yield
    finally:
        _current.reset(reset)


@contextmanager
def without_budget() -> Iterator[None]:
    """Run the body, which no request waits for, outside of any budget: each command has its own time."""
    reset = _current.set(None)
    try:
        yield
    finally:
        _current.reset(reset)
