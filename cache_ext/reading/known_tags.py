"""The tags that entries were last seen with, so that one round trip brings their versions too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import chain, repeat

from cache_ext.wanted import Wanted

_REMEMBERED_KEYS = 20_000


class KnownTags:
    """Tags by key; callers name some, the rest is inherited or the loader's own."""

    def __init__(self) -> None:
        self._tags: dict[str, tuple[str, ...]] = {}
        self._changes = 0

    def of(self, keys: Iterable[str]) -> set[str]:
        """Return the tags that entries of *keys* were last seen with."""
        return set(chain.from_iterable(map(self._tags.get, keys, repeat(()))))

    def with_those_of(self, tags_of: Mapping[str, Collection[str]]) -> Collection[str]:
        """Return all tags in *tags_of*, and those that entries of its keys were last seen with."""
        if not isinstance(tags_of, Wanted):
            return self._union(tags_of)
        noted, changes = tags_of.union, self._changes
        if noted is None or noted[0] != changes:
            noted = tags_of.union = changes, frozenset(self._union(tags_of))
        return noted[1]

    def _union(self, tags_of: Mapping[str, Collection[str]]) -> set[str]:
        return set(chain(*tags_of.values(), *map(self._tags.get, tags_of, repeat(()))))

    def note(self, key: str, tags: tuple[str, ...]) -> None:
        """Note that the entry of *key* has *tags*."""
        if self._tags.get(key) != tags:
            if len(self._tags) >= _REMEMBERED_KEYS:
                self._tags.clear()  # costs each key one more trip, once
            self._tags[key] = tags
            self._changes += 1
