"""The cache as its users see it: two levels, one load per lifetime, nothing served after its invalidation."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, TypeVar, Unpack

from cache_ext.codec.entries import EntryCodec
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.coherence.invalidation import clear, delete_keys, invalidate_tags, soften_tags
from cache_ext.coherence.preview import Aim, Preview, Progress, preview
from cache_ext.coherence.receipts import Receipt
from cache_ext.entry import MISS, Missing
from cache_ext.events import Announcer
from cache_ext.hooks.registry import Registry
from cache_ext.keys import check_name, check_tags
from cache_ext.loading.origin import Job, refuse_async
from cache_ext.policy import CachePolicy, policy_for
from cache_ext.reading.bypass import bypassing, is_bypassed
from cache_ext.reading.fetched import Fetched, Outcome
from cache_ext.reading.fetching import Fetcher
from cache_ext.reading.frames import current_frame
from cache_ext.reading.terms import Wishes, terms_of
from cache_ext.runtime import Runtime
from cache_ext.settings import CacheSettings
from cache_ext.transport.budget import budget
from cache_ext.transport.connection import RedisGateway
from cache_ext.wanted import Batches

T = TypeVar("T")
Ttl = float | timedelta | None
ManyLoader = Callable[[Sequence[str]], Mapping[str, Any]]
_DIRECT, _SEALED = (CachePolicy(ttl=1, name="direct", sensitive=sealed) for sealed in (False, True))
"""What `get` demands."""


class TieredCache:
    """A two-level cache. Make one with `open_cache`; one per namespace and process is enough.

    All methods may be called from any thread or greenlet. After a fork the child starts afresh.
    """

    def __init__(self, settings: CacheSettings, gateway: RedisGateway | None) -> None:
        self.settings = settings
        self.gateway = gateway
        self._values = ValueCodec()
        self._registry = Registry()
        self.register_type = self._values.register
        """Makes values of a type cacheable; see `ValueCodec.register`."""
        ring = KeyRing(settings.secret_keys, settings.namespace)
        self._batches = Batches()
        self._codec = EntryCodec(self._values, ring, settings.max_entry_bytes)
        self._begin()
        myself = weakref.ref(self)

        def after_fork() -> None:
            if cache := myself():
                cache._begin()

        os.register_at_fork(after_in_child=after_fork)

    def _begin(self) -> None:
        self.runtime = Runtime(self.settings, self.gateway, self._codec, announce=Announcer(self))
        self.hooks = self.runtime.add_hooks(self._registry, self._values)
        self._fetcher = Fetcher(self.runtime, time.monotonic)
        self._near = self._fetcher.near
        self.runtime.sampler.watch(self, "_near")

    def start(self) -> None:
        """Connect and start this process' threads now; the first read would, but waits for it no longer."""
        self.runtime.start(patient=True)

    def get(self, key: str, *, sensitive: bool = False) -> Any | Missing:
        """Return the value of *key*, or MISS if there is no fresh one.

        Args:
            sensitive: believe sealed entries only, as those of a sensitive policy are.
        """
        policy = _SEALED if sensitive else _DIRECT
        if (slot := self._near(key, policy)) is not None:
            return slot.take()
        if is_bypassed():
            return MISS
        self.runtime.start()
        with budget(self.settings.op_timeout, of_call=True):
            terms = terms_of(policy, {}, shares=False)
            found = self.runtime.looks.look({check_name(key): ()}, terms, plain=False).found[key]
        if (slot := found.fresh_at(now := time.monotonic())) is None:
            self._fetcher.count(key, policy, "none", Outcome.MISS, 0.0)
            return MISS
        self._fetcher.count(key, policy, found.layer, Outcome.HIT, now - slot.loaded)
        if (frame := current_frame()) is not None:
            frame.absorb(slot)
        return slot.take()

    def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: Ttl = None,
        policy: CachePolicy | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        """Keep *value* under *key*; a load of *key* that is under way will not overwrite it.

        Args:
            ttl: seconds or timedelta; the default ttl if neither it nor *policy* is given.
            tags: names under which it can be invalidated.
        Raises:
            UnsupportedValue: *value* cannot be kept exactly.
        """
        self.runtime.start()
        job = self._job((key,), lambda keys: {key: value}, ttl, policy, lambda _: tags, {})
        with budget(self.settings.op_timeout, of_call=True):
            self.runtime.putter.put(key, job)

    def fetch(
        self,
        key: str,
        loader: Callable[[], Any],
        *,
        ttl: Ttl = None,
        policy: CachePolicy | None = None,
        tags: Iterable[str] = (),
        **wishes: Unpack[Wishes],
    ) -> Fetched:
        """Return the value of *key* and where it comes from; *loader* is called if there is none.

        Args:
            loader: returns the value, `Loaded` to say more about it, or `NotModified`.
            ttl: seconds or timedelta; the default ttl if neither it nor *policy* is given.
            tags: names under which it can be invalidated; what nested reads carry is inherited.
            wishes: ``max_stale``, ``after``, ``not_older_than``; see `Wishes`.
        Raises:
            LoadTimeout: *loader* takes longer than the policy lets callers wait, and goes on.
            OlderThanSeen: nobody has data as new as *not_older_than*.
            Whatever *loader* raises, unless a stale value may be served instead.
        """
        if not wishes and (slot := self._near(key, policy)) is not None:
            return self._fetcher.hit(slot)
        job = self._job((key,), lambda keys: {key: loader()}, ttl, policy, lambda _: tags, wishes, loader)
        result = self._fetcher.fetch(job)[key]
        if isinstance(result, Exception):
            raise result
        return result

    def fetch_many(
        self,
        keys: Iterable[str],
        loader: ManyLoader,
        *,
        ttl: Ttl = None,
        policy: CachePolicy | None = None,
        tags_for: Callable[[str], Iterable[str]] | None = None,
        **wishes: Unpack[Wishes],
    ) -> dict[str, Fetched | Exception]:
        """Return each of *keys* as `fetch` would, or why there is none, in one round trip to Redis.

        Args:
            loader: given the keys that are missing, returns a value for each; one that it cannot load is
                left out, or an exception in its place.
            tags_for: returns the tags of a key.
        """
        return self._fetcher.fetch(self._job(keys, loader, ttl, policy, tags_for, wishes, loader))

    def get_or_load(
        self,
        key: str,
        loader: Callable[[], T],
        *,
        ttl: Ttl = None,
        policy: CachePolicy | None = None,
        tags: Iterable[str] = (),
        **wishes: Unpack[Wishes],
    ) -> T:
        """Return the value of *key*, calling *loader* if there is none; see `fetch`."""
        if not wishes and (slot := self._near(key, policy)) is not None:
            known: T = slot.take()
            return known
        job = self._job((key,), lambda keys: {key: loader()}, ttl, policy, lambda _: tags, wishes, loader)
        value: T = self._fetcher.value(key, job)
        return value

    def get_or_load_many(
        self,
        keys: Iterable[str],
        loader: ManyLoader,
        *,
        ttl: Ttl = None,
        policy: CachePolicy | None = None,
        tags_for: Callable[[str], Iterable[str]] | None = None,
        **wishes: Unpack[Wishes],
    ) -> dict[str, Any]:
        """Return the values of *keys*, those left out that *loader* left out; see `fetch_many`.

        Raises:
            The first exception that *loader* raised, or gave in place of a value.
        """
        return self._fetcher.values(self._job(keys, loader, ttl, policy, tags_for, wishes, loader))

    def delete(self, *keys: str) -> Receipt:
        """Remove *keys*; loads of them that are under way are not stored."""
        return delete_keys(self.runtime, [check_name(key) for key in keys])

    def invalidate_tags(self, *tags: str, soft: bool = False) -> Receipt:
        """Make whatever carries one of *tags*, or is being loaded under one, count no more. Costs O(tags).

        With *soft* it is past its ttl instead: it may still serve, marked as stale, as its policy allows.
        """
        return (soften_tags if soft else invalidate_tags)(self.runtime, check_tags(tags))

    def clear(self) -> Receipt:
        """Make everything in the namespace count no more, at the same cost however much there is."""
        return clear(self.runtime)

    def preview(
        self, *tags: str, keys: Iterable[str] = (), everything: bool = False, progress: Progress | None = None
    ) -> Preview:
        """Count what `invalidate_tags`, `delete` and (*everything*) `clear` would hit; see `Preview`."""
        return preview(self.runtime, self._codec, Aim(tags, keys, everything), progress)

    def disabled(self) -> AbstractContextManager[None]:
        """Let every read inside the body, in this thread or greenlet, go to its loader, and store nothing."""
        return bypassing()

    def close(self) -> None:
        """Wait for loads under way, stop the threads, close the connections."""
        self.runtime.close()

    def _job(
        self,
        keys: Iterable[str],
        loader: ManyLoader,
        ttl: Ttl,
        policy: CachePolicy | None,
        tags_for: Callable[[str], Iterable[str]] | None,
        wishes: Wishes,
        given: Callable[..., Any] | None = None,
    ) -> Job:
        refuse_async(given)
        policy = policy_for(ttl, policy, self.settings.default_ttl)
        wanted = self._batches.get(keys, tags_for)
        return Job(loader, policy, wanted, terms_of(policy, wishes, shares=self.gateway is not None))
