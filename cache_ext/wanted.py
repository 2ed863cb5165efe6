"""What callers ask for: keys and the tags of each, checked, and remembered with what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from cache_ext.keys import check_name, check_tags, known_name, known_tags

_KNOWN_BATCHES = 32
_KNOWN_KEYS = 4_096
_LARGE_BATCH = 1_000
"""Keys; more of them are not remembered."""


class Wanted(dict[str, tuple[str, ...]]):
    """Keys and the tags of each, as a caller names them: not to be changed.

    Whoever asks for the same again has the same object, in which others note what follows from it.
    """

    __slots__ = ("credentials", "union")

    def __init__(self, keys: Iterable[str], tags: Iterable[tuple[str, ...]]) -> None:
        super().__init__(zip(keys, tags, strict=True))
        self.union: tuple[int, Collection[str]] | None = None
        """All tags, known ones too, behind the state of that knowledge (see `reading.known_tags`)."""
        self.credentials: tuple[object, object, Mapping[str, Any]] | None = None
        """What entries have to show, behind epochs and standings that it follows from (see `stores.base`)."""


def check_all(keys: Collection[str], tags: Iterable[Iterable[str]]) -> Wanted:
    """Return, by key, the *tags* of each of *keys*, checked as `check_name` and `check_tags` do."""
    given = list(tags)
    try:
        if set(map(type, given)) == {tuple}:
            listed: Iterable[Any] = given
            return Wanted(map(known_name, keys), map(known_tags, listed))
    except TypeError:
        pass  # as below
    return Wanted(map(check_name, keys), map(check_tags, given))


class Batches:
    """What was asked for lately: a price, a page, a watch list is asked for again and again."""

    def __init__(self) -> None:
        self._many = lru_cache(_KNOWN_BATCHES)(_remembered)
        self._one = lru_cache(_KNOWN_KEYS)(_remembered)

    def get(self, keys: Iterable[str], tags_for: Callable[[str], Iterable[str]] | None) -> Wanted:
        """Return each of *keys* once, with its tags, as `check_all` does."""
        names = tuple(keys)
        tags = ((),) * len(names) if tags_for is None else tuple(map(tags_for, names))
        if len(names) <= _LARGE_BATCH:
            try:
                return (self._one if len(names) == 1 else self._many)(names, tags)
            except TypeError:
                pass  # some of it cannot be looked up, or may be another thing next time
        return check_all(names, tags)


def _remembered(keys: tuple[str, ...], tags: tuple[Iterable[str], ...]) -> Wanted:
    if not {*map(type, tags)} <= {tuple}:
        raise TypeError("only tuples stay what they are")
    return check_all(keys, tags)
