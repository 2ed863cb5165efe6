"""Calling the origin: run a loader, and turn what it returns into entries with the right credentials."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Raw

from cache_ext import events, metrics
from cache_ext.codec.entries import FORMAT, MAX_MS, EntryCodec
from cache_ext.entry import Entry, Version
from cache_ext.errors import CacheError, ConfigurationError
from cache_ext.keys import bucket_of
from cache_ext.policy import CachePolicy
from cache_ext.reading.frames import Frame, loading
from cache_ext.reading.reader import Reader
from cache_ext.reading.slot import Slot
from cache_ext.stores.base import Versions
from cache_ext.transport.budget import unbudgeted

log = logging.getLogger(__name__)

UNTRUSTED = -1
"""The generation of slots that the store does not know."""
_UNKNOWN = Version(b"", 0)
"""The version of a tag while the store is away; never equal to a real one."""


class NotLoaded(CacheError, KeyError):
    """The loader of many gave no value for this key."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loader may return instead of the bare value, to say how long it is good for.

    Args:
        value: the value.
        ttl: seconds, instead of the policy's; 0 answers the callers but stores nothing.
        early_refresh: False if loading it before its end would bring the same again.
    Raises:
        ConfigurationError: the ttl is negative or not finite.
    """

    value: Any
    ttl: float
    early_refresh: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.ttl < math.inf:
            raise ConfigurationError(f"ttl is a number of seconds, at least 0: {self.ttl!r}")


@dataclass(frozen=True, slots=True)
class Job:
    """How to load: the loader of many keys, the policy, and the tags of each key.

    The loader returns a value per key; one that it cannot load is left out, or an exception in its place.
    """

    loader: Callable[[Sequence[str]], Mapping[str, Any]]
    policy: CachePolicy
    tags_of: Mapping[str, tuple[str, ...]]

    def tags(self, keys: Iterable[str]) -> set[str]:
        """Return the tags of all of *keys*."""
        return {tag for key in keys for tag in self.tags_of[key]}


@dataclass(frozen=True, slots=True)
class Departure:
    """The moment before a load: what was noted then.

    Args:
        began: seconds on the monotonic clock.
        token: of the load.
        versions: the store's state, None if it is away: the result cannot be stored.
        alone: the store is away, so the processes of the host may help each other out.
    """

    began: float
    token: bytes
    versions: Versions | None
    alone: bool = False

    def of(self, tag: str) -> Version:
        """Return the noted version of *tag*."""
        return (self.versions.of(tag) if self.versions else None) or _UNKNOWN


class Origin:
    """Calls loaders."""

    def __init__(
        self,
        reader: Reader,
        codec: EntryCodec,
        monotonic: Callable[[], float],
        announce: events.Announce = events.unheard,
    ) -> None:
        self._announce = announce
        self._reader = reader
        self._codec = codec
        self._monotonic = monotonic

    def call(self, keys: Sequence[str], job: Job, departure: Departure) -> dict[str, Slot | Exception]:
        """Run the loader for *keys*; return a slot, not yet stored anywhere, or what went wrong, per key."""
        noted = {tag: departure.of(tag) for tag in job.tags(keys)}
        failure: Exception | None = None
        with loading(frozenset(keys), noted) as frame, unbudgeted():
            try:
                values: Any = job.loader(keys)
            except Exception as error:  # whatever a loader raises is its callers' business
                log.debug("loader failed", exc_info=True)
                failure = error
        took = self._monotonic() - departure.began
        if events.load.receivers:
            self._announce(events.load, events.Load(tuple(keys), job.policy.name, took, failure))
        if failure is not None:
            return dict.fromkeys(keys, failure)
        if not isinstance(values, Mapping):
            wrong = TypeError(f"a loader of many returns a mapping, not a {type(values).__name__}")
            return dict.fromkeys(keys, wrong)
        metrics.load_duration.labels(job.policy.name).observe(took)
        return {key: self._outcome(key, values, job, departure, frame, took) for key in keys}

    def _outcome(
        self, key: str, values: Mapping[str, Any], job: Job, departure: Departure, frame: Frame, took: float
    ) -> Slot | Exception:
        if key not in values:
            return NotLoaded(key)
        value = values[key]
        if isinstance(value, Exception):
            return value
        ttl = job.policy.ttl
        if isinstance(value, Loaded):
            value, ttl, took = value.value, value.ttl, took if value.early_refresh else 0.0
        try:
            payload = self._codec.payload(value)
        except CacheError as error:
            return error
        entry, loaded = self._entry(key, Raw(payload), ttl, job, departure, frame, took)
        return self._reader.hold(key, entry, loaded, UNTRUSTED, value)

    def _entry(
        self,
        key: str,
        payload: Raw,
        ttl: float,
        job: Job,
        departure: Departure,
        frame: Frame,
        took: float,
    ) -> tuple[Entry, float]:
        """Return the entry and when its oldest part was loaded: lifetimes nest."""
        loaded = min(departure.began, frame.loaded)
        fresh_until = min(departure.began + ttl, frame.fresh_until)
        stale_until = min(fresh_until + job.policy.stale_for, max(fresh_until, frame.stale_until))
        versions = departure.versions
        tags = {tag: departure.of(tag) for tag in job.tags_of[key]} | frame.inherited
        store_now = versions.now if versions else 0
        entry = Entry(
            format=FORMAT,
            token=departure.token,
            epoch=versions.epochs.get(bucket_of(key), b"") if versions and not frame.torn else b"",
            loaded_at=store_now - math.ceil(1000 * (departure.began - loaded)),
            ttl=min(MAX_MS, _ms(fresh_until - loaded)),
            stale_for=min(MAX_MS, _ms(stale_until - fresh_until)),
            load_time=min(MAX_MS, _ms(took)),
            tags=tuple((tag, epoch, counter) for tag, (epoch, counter) in tags.items()),
            sealed=job.policy.sensitive,
            payload=payload,
        )
        return entry, loaded


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))
