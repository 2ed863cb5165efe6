"""Reading facts from the cache as what they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from cache_ext import CachePolicy, Fetched, TieredCache

T = TypeVar("T")


class Facts:
    """A cache whose values have a known type.

    The shared store is not trusted: where something else lies than should, it is dropped and loaded anew.
    """

    def __init__(self, cache: TieredCache) -> None:
        self._cache = cache

    def one(
        self,
        key: str,
        kind: type[Any],
        loader: Callable[[], Any],
        *,
        policy: CachePolicy,
        tags: Iterable[str],
    ) -> Fetched:
        """Return the *kind* at *key*, calling *loader* if there is none; see `TieredCache.fetch`."""
        tags = tuple(tags)
        fetched = self._cache.fetch(key, loader, policy=policy, tags=tags)
        if not isinstance(fetched.value, kind):
            self._cache.delete(key)
            fetched = self._cache.fetch(key, loader, policy=policy, tags=tags)
        return fetched

    def value(
        self,
        key: str,
        kind: type[T],
        loader: Callable[[], T],
        *,
        policy: CachePolicy,
        tags: tuple[str, ...],
    ) -> T:
        """Return the *kind* at *key*, wherever it is from; see `TieredCache.get_or_load`."""
        value = self._cache.get_or_load(key, loader, policy=policy, tags=tags)
        if not isinstance(value, kind):
            self._cache.delete(key)
            value = self._cache.get_or_load(key, loader, policy=policy, tags=tags)
        return value

    def many(
        self,
        keys: Iterable[str],
        kind: type[Any],
        loader: Callable[[Sequence[str]], Mapping[str, Any]],
        *,
        policy: CachePolicy,
        tags_for: Callable[[str], Iterable[str]],
    ) -> dict[str, Fetched | Exception]:
        """Return the *kind* at each of *keys*, or why there is none; see `TieredCache.fetch_many`."""
        found = self._cache.fetch_many(keys, loader, policy=policy, tags_for=tags_for)
        wrong = [
            key
            for key, each in found.items()
            if isinstance(each, Fetched) and not isinstance(each.value, kind)
        ]
        if wrong:
            self._cache.delete(*wrong)
            found |= self._cache.fetch_many(wrong, loader, policy=policy, tags_for=tags_for)
        return found
