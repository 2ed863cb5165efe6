"""Rules: which tags an event invalidates, and in which cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from cache_ext.hooks.event import Event
from cache_ext.keys import check_tags

TagsOf = Callable[[Event], Iterable[str]]


class Outcome(Protocol):
    """What became of an invalidation; a `Receipt` says it."""

    @property
    def applied(self) -> bool:
        """Whether the shared store has it, so that it counts everywhere."""


class Invalidates(Protocol):
    """What rules need of a cache."""

    def invalidate_tags(self, *tags: str) -> Outcome:
        """Make whatever carries one of *tags* count no more."""

    def clear(self) -> Outcome:
        """Make everything count no more."""


class Rules:
    """Invalidates what events ask for.

    Args:
        tags_of: returns the tags that an event invalidates; raises if its data make no sense.
        cache: where.
    """

    def __init__(self, tags_of: TagsOf, cache: Invalidates) -> None:
        self._tags_of = tags_of
        self._cache = cache

    def tags_of(self, event: Event) -> tuple[str, ...]:
        """Return what *event* invalidates, without repetitions.

        Raises:
            Whatever the rules raise; ConfigurationError: a tag is no name.
        """
        return check_tags(self._tags_of(event))

    def invalidate(self, tags: Iterable[str]) -> bool:
        """Invalidate *tags*; return whether that counts everywhere already."""
        names = tuple(dict.fromkeys(tags))
        return not names or self._cache.invalidate_tags(*names).applied

    def invalidate_all(self) -> bool:
        """Invalidate everything; return whether that counts everywhere already."""
        return self._cache.clear().applied
