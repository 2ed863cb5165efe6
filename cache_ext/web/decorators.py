"""`memoize`: functions whose results are kept, one a call, in the current application's cache."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Hashable
from datetime import timedelta
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from flask import current_app, has_app_context

from cache_ext.coherence.receipts import Receipt
from cache_ext.engine import TieredCache
from cache_ext.errors import ConfigurationError, UnsupportedValue
from cache_ext.loading.updating import Update
from cache_ext.policy import CachePolicy, policy_for
from cache_ext.web.arguments import Arguments, describe
from cache_ext.web.labels import Labels, Tags
from cache_ext.web.naming import LONGEST_KEY_BYTES, fingerprint, safe_name
from cache_ext.web.state import cache_of

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
_ANY_TTL = 1.0
_EQUAL_IS_SAME = frozenset({str, int, bool, bytes, type(None)})
"""Types of which equal values of one type are told apart by nothing; of floats, 0.0 and -0.0 are."""
_REMEMBERED = 4_096
"""Calls of a function whose names are remembered: making them costs more than a hit."""
_LONGEST_ARGUMENTS = 1_024
"""Bytes of arguments above which they are not worth remembering."""


class Recipe:
    """How the calls of one function are kept; see `memoize`."""

    def __init__(
        self,
        function: Callable[..., Any],
        ttl: float | timedelta | None,
        policy: CachePolicy | None,
        tags: Tags,
        key: Callable[..., Any] | None,
        name: str | None,
        cache: TieredCache | None,
    ) -> None:
        refuse_async(function)
        policy_for(ttl, policy, _ANY_TTL)
        self.name = name or _name_of(function, told_apart=key is not None)
        self.function_tag = safe_name(f"memo:{self.name}")
        self._ttl, self._policy = ttl, policy
        self._key, self._cache = key, cache
        self._arguments = Arguments(function)
        self._labels = Labels(tags, self.function_tag, self._arguments.names)
        self._repeats = key is None and not callable(tags)
        self._named: dict[Hashable, tuple[str, tuple[str, ...]]] = {}

    def cache(self) -> TieredCache:
        """Return the cache given, or the current application's."""
        return self._cache or cache_of(current_app)

    def policy(self, cache: TieredCache) -> CachePolicy:
        """Return how values are kept in *cache*."""
        return policy_for(self._ttl, self._policy, cache.settings.default_ttl)

    def name_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
        """Return the key and the tags of one call; those of plain arguments are remembered."""
        kinds = tuple(map(type, args))
        if kwargs or not self._repeats or not _EQUAL_IS_SAME.issuperset(kinds):
            return self._name_call(args, kwargs)
        named = self._named.get((kinds, args))
        if named is None:
            named = self._name_call(args, kwargs)
            if len(self._named) >= _REMEMBERED:
                self._named.clear()
            if sum(map(sys.getsizeof, args)) <= _LONGEST_ARGUMENTS:
                self._named[kinds, args] = named
        return named

    def _name_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
        bound = self._arguments.bind(args, kwargs)
        if self._key is not None:
            text = describe(self._key(*args, **kwargs))
        else:
            try:
                text = self._arguments.describe(bound)
            except UnsupportedValue as error:
                raise UnsupportedValue(f"{self.name}: {error}") from error
        if self._policy is not None and self._policy.sensitive:
            text = "~" + fingerprint(text)
        key = safe_name(f"memo:{self.name}({text})", LONGEST_KEY_BYTES)
        return key, self._labels.of(bound, args, kwargs)


class Memoized(Generic[P, R]):
    """A function whose results are kept; what `memoize` makes.

    Called, it returns what is kept of a call with the same arguments, or calls the function. What that
    raises is not kept; None is a value. On an instance it is a method, as a function would be.
    """

    def __init__(self, function: Callable[P, R], recipe: Recipe, first: tuple[Any, ...] = ()) -> None:
        self.uncached: Callable[P, R] = function
        """The function itself."""
        self._recipe = recipe
        self._first = first
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the result of this call, kept or new."""
        cache = self._recipe.cache()
        key, tags = self._recipe.name_call((*self._first, *args), kwargs)
        loader = self._loader(args, kwargs)
        return cache.get_or_load(key, loader, policy=self._recipe.policy(cache), tags=tags)

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of this call.

        Raises:
            UnsupportedValue: an argument cannot be part of a key.
        """
        return self._recipe.name_call((*self._first, *args), kwargs)[0]

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """Forget the result of this one call. What was made of it stays: a tag in common reaches both."""
        return self._recipe.cache().delete(self.key_for(*args, **kwargs))

    def invalidate_all(self) -> Receipt:
        """Forget the results of all calls (for a method: of all instances), and what was made of them."""
        return self._recipe.cache().invalidate_tags(self._recipe.function_tag)

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function now, keep its result and return it; others get the old one until then."""
        cache = self._recipe.cache()
        key, tags = self._recipe.name_call((*self._first, *args), kwargs)
        update = Update(cache, key, self._recipe.policy(cache), tags)
        value: R = update.replace(self._loader(args, kwargs))
        return value

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Memoized[P, R]: ...
    @overload
    def __get__(
        self: Memoized[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> Memoized[Q, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        bound: Any = self.uncached
        return Memoized(bound.__get__(instance, owner), self._recipe, (*self._first, instance))

    def _loader(self, args: Any, kwargs: Any) -> Callable[[], R]:
        """Return the call, to be made within the application's context, in the background too."""
        app = current_app._get_current_object() if has_app_context() else None  # type: ignore[attr-defined]

        def load() -> R:
            if app is None or has_app_context():
                return self.uncached(*args, **kwargs)
            with app.app_context():
                return self.uncached(*args, **kwargs)

        return load


def memoize(
    ttl: float | timedelta | None = None,
    *,
    policy: CachePolicy | None = None,
    tags: Tags = (),
    key: Callable[..., Any] | None = None,
    name: str | None = None,
    cache: TieredCache | None = None,
) -> Callable[[Callable[P, R]], Memoized[P, R]]:
    """Return a decorator that keeps a function's results, one a call.

    Args:
        ttl: seconds or timedelta; the cache's default if neither it nor *policy* is given.
        tags: names under which results can be invalidated; ``user:{id}`` is formatted with the arguments.
            Or a function of the arguments that returns names.
        key: a function of the arguments that returns what tells calls apart, where they themselves cannot.
        name: instead of module and qualified name; needed where these do not tell functions apart.
        cache: instead of the current application's.
    Raises:
        ConfigurationError: the arguments contradict each other, or the function needs a *name*.
        TypeError: the function is async.
    """

    def decorate(function: Callable[P, R]) -> Memoized[P, R]:
        return Memoized(function, Recipe(function, ttl, policy, tags, key, name, cache))

    return decorate


def refuse_async(function: Any) -> None:
    """Raise TypeError if *function* is none that can be called and waited for."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} is an async function; this cache is synchronous")
    if isinstance(function, classmethod | staticmethod):
        kind = type(function).__name__
        raise TypeError(f"write the cache's decorator below @{kind}, next to the function")


def _name_of(function: Callable[..., Any], *, told_apart: bool) -> str:
    """Return module and qualified name, if they stand for this function alone."""
    qualified: str = getattr(function, "__qualname__", "")
    if not qualified or "<lambda>" in qualified:
        raise ConfigurationError(f"{function!r} has no name of its own: give the decorator a name=")
    captured = set(getattr(getattr(function, "__code__", None), "co_freevars", ())) - {"__class__"}
    if captured and not told_apart:
        raise ConfigurationError(
            f"{qualified} uses {', '.join(sorted(captured))} from around it, so its arguments do not decide "
            "its result: give the decorator a name= that tells it from others made here"
        )
    return f"{function.__module__}.{qualified}"
