"""Which functions are called for which events, and which rules say what these invalidate."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

from cache_ext.errors import ConfigurationError
from cache_ext.hooks.event import Event
from cache_ext.hooks.rules import Rules
from cache_ext.keys import check_name

F = TypeVar("F", bound=Callable[[Event], Any])
Within = Callable[[], AbstractContextManager[Any]]
"""Makes what a hook runs within, say an application's context."""


class Hook(NamedTuple):
    """A function that is called with each event of a name."""

    event: str
    name: str
    function: Callable[[Event], Any]
    within: Within

    @property
    def group(self) -> str:
        """The name by which all processes know this hook: who else has it is never called with the same."""
        return f"{self.event}|{self.name}"


class Registry:
    """The hooks of one cache: its own, and those of registries that it follows; and its rules, if any."""

    rules: Rules | None = None
    each_second: Callable[[], None] | None = None
    """Called each second in every process that has started the cache, by a thread of its own."""

    def __init__(self) -> None:
        self._hooks: dict[str, Hook] = {}
        self._followed: list[tuple[Registry, Within]] = []

    def on(self, event: str, *, name: str | None = None) -> Callable[[F], F]:
        """Return a decorator that has its function called with each `Event` of the name *event*.

        Args:
            name: tells hooks of one event apart, in all processes; the function's module and qualified name
                if None.
        Raises:
            ConfigurationError: this event has a hook of that name, or the function has no name of its own.
            TypeError: the function is async.
        """
        check_name(event)

        def decorate(function: F) -> F:
            if inspect.iscoroutinefunction(function):
                raise TypeError(
                    f"{function.__qualname__} is an async function; hooks are called and waited for"
                )
            hook = Hook(event, check_name(name or _name_of(function)), function, nullcontext)
            if hook.group in self._hooks:
                raise ConfigurationError(
                    f"{event!r} has a hook {hook.name!r} already: give one of them a name="
                )
            self._hooks[hook.group] = hook
            return function

        return decorate

    def follow(self, other: Registry, within: Within) -> None:
        """Have the hooks of *other* too, those yet to come as well, called *within* a context."""
        self._followed.append((other, within))

    def hooks(self) -> list[Hook]:
        """Return all hooks there are now."""
        found = list(self._hooks.values())
        for other, within in self._followed:
            found += [hook._replace(within=within) for hook in other.hooks()]
        return found

    @property
    def listens(self) -> bool:
        """Whether this process has any use for events."""
        return self.rules is not None or bool(self.hooks())

    def of(self, event: str) -> list[Hook]:
        """Return the hooks that are called for *event*."""
        return [hook for hook in self.hooks() if hook.event == event]


def _name_of(function: Callable[..., Any]) -> str:
    qualified: str = getattr(function, "__qualname__", "")
    if not qualified or "<lambda>" in qualified:
        raise ConfigurationError(f"{function!r} has no name of its own: give the hook a name=")
    return f"{function.__module__}.{qualified}"
