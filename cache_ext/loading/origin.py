"""Calling the origin: run a loader, and turn what it returns into entries with the right credentials."""

from __future__ import annotations

import inspect
import logging
import math
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw, Struct

from cache_ext import events, metrics
from cache_ext.codec.entries import FORMAT, EntryCodec
from cache_ext.codec.failures import encode_failure
from cache_ext.entry import MAX_MS, Entry, Version
from cache_ext.errors import UnsupportedValue
from cache_ext.keys import bucket_of
from cache_ext.loading.late import LateTags, Positions
from cache_ext.loading.loaded import Loaded, NotLoaded, answer_of
from cache_ext.policy import CachePolicy
from cache_ext.reading.frames import Frame, loading
from cache_ext.reading.reader import Reader
from cache_ext.reading.slot import EARLY_FACTOR, Slot
from cache_ext.reading.terms import ANY, Terms
from cache_ext.stores.base import Versions
from cache_ext.transport.budget import unbudgeted

log = logging.getLogger(__name__)

_chance = random.SystemRandom().random
"""Of the system, since an application may seed `random` to be the same in all its processes."""
_ROUNDING_MS = 0.001
"""On a host that is up for 10 hours, ``now + 0.001 - now`` is a little less than 0.001."""
_SOON = 0.001
"""Seconds, the least load time that is noted: 0 stands for what is not refreshed early."""
UNTRUSTED = -1
"""The generation of slots that the store does not know."""
_UNKNOWN = Version(b"", 0)
"""The version of a tag while the store is away; never equal to a real one."""


class Job(Struct, frozen=True):
    """How to load: the loader of many keys, the policy, and the tags of each key.

    The loader returns a value per key; one that it cannot load is left out, or an exception in its place.
    `previous` has, by key, the slot that is to be replaced and that no known invalidation has passed.
    """

    loader: Callable[[Sequence[str]], Mapping[str, Any]]
    policy: CachePolicy
    tags_of: Mapping[str, tuple[str, ...]]
    terms: Terms = ANY
    previous: dict[str, Slot] = {}

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
        positions: of the buckets, for tags that the loader may add.
        alone: the store is away, so the processes of the host may help each other out.
    """

    began: float
    token: bytes
    versions: Versions | None
    positions: Positions = field(default_factory=dict)
    alone: bool = False

    def of(self, tag: str) -> Version | None:
        """Return the noted version of *tag*, None if it was not."""
        return self.versions.of(tag) if self.versions else None


@dataclass(frozen=True, slots=True)
class _Return:
    """What a loader came back with, but for the values."""

    job: Job
    departure: Departure
    frame: Frame
    took: float
    late: Mapping[str, Version]

    def version(self, tag: str) -> Version:
        """Return the version of *tag* before the load, `_UNKNOWN` if it cannot be told."""
        return self.departure.of(tag) or self.late.get(tag, _UNKNOWN)


def _uncounted(keys: tuple[str, ...], cache: str, took: float) -> None:
    """Count nothing."""


class Origin:
    """Calls loaders.

    Args:
        count: is told of each load: its keys, the cache, the seconds that it took.
        chance: returns random numbers from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        reader: Reader,
        codec: EntryCodec,
        late: LateTags,
        monotonic: Callable[[], float],
        announce: events.Announce = events.unheard,
        count: Callable[[tuple[str, ...], str, float], None] = _uncounted,
        chance: Callable[[], float] = _chance,
    ) -> None:
        self._announce = announce
        self._reader = reader
        self._codec = codec
        self._late = late
        self._monotonic = monotonic
        self._count = count
        self._chance = chance

    def call(self, keys: Sequence[str], job: Job, departure: Departure) -> dict[str, Slot | Exception]:
        """Run the loader for *keys*; return a slot, not yet stored anywhere, or what went wrong, per key."""
        noted = {tag: departure.of(tag) or _UNKNOWN for tag in job.tags(keys)}
        failure: Exception | None = None
        with loading(frozenset(keys), noted, job.previous) as frame, unbudgeted():
            try:
                values: Any = job.loader(keys)
            except Exception as error:  # whatever a loader raises is its callers' business
                log.debug("loader failed", exc_info=True)
                failure = error
                values = dict.fromkeys(keys, error)
        took = self._monotonic() - departure.began
        if events.load.receivers:
            self._announce(events.load, events.Load(tuple(keys), job.policy.name, took, failure))
        if not isinstance(values, Mapping):
            wrong = TypeError(f"a loader of many returns a mapping, not a {type(values).__name__}")
            return dict.fromkeys(keys, wrong)
        metrics.load_duration.labels(job.policy.name).observe(took)
        self._count(tuple(keys), job.policy.name, took)
        answers = {key: answer_of(values.get(key, NotLoaded(key)), job.previous.get(key)) for key in keys}
        late = self._late_versions(answers.values(), job, departure)
        came = _Return(job, departure, frame, took, late)
        return {key: self._outcome(key, answer, came) for key, answer in answers.items()}

    def _late_versions(
        self, answers: Collection[Loaded | Exception], job: Job, departure: Departure
    ) -> dict[str, Version]:
        """Return the versions of tags that the answers add and that were not noted."""
        named = {tag for answer in answers if isinstance(answer, Loaded) for tag in answer.tags}
        unknown = {tag for tag in named if departure.of(tag) is None}
        if departure.versions is None:
            return {}
        return self._late.versions(unknown, departure.positions, job.policy.lifetime)

    def _outcome(self, key: str, answer: Loaded | Exception, came: _Return) -> Slot | Exception:
        policy = came.job.policy
        try:
            if isinstance(answer, Exception):
                if not isinstance(answer, policy.cache_errors):
                    return answer
                payload = encode_failure(answer, self._codec.values)
                made = Loaded(answer, policy.error_ttl, early_refresh=False)
            else:
                payload, made = self._codec.payload(answer.value), answer
        except UnsupportedValue as error:
            return answer if isinstance(answer, Exception) else error
        entry, loaded = self._entry(key, Raw(payload), made, came)
        return self._reader.hold(key, entry, loaded, UNTRUSTED, made.value, now=self._monotonic())

    def _entry(self, key: str, payload: Raw, made: Loaded, came: _Return) -> tuple[Entry, float]:
        """Return the entry and when its oldest part was loaded: lifetimes nest."""
        departure, frame, policy = came.departure, came.frame, came.job.policy
        failed = isinstance(made.value, Exception)
        stale_for = policy.stale_for if made.stale_for is None else made.stale_for
        loaded, fresh_until, stale_until = self._times(made, came, 0.0 if failed else stale_for)
        tags = {tag: came.version(tag) for tag in (*came.job.tags_of[key], *made.tags)} | frame.inherited
        versions = departure.versions
        sound = versions is not None and not frame.torn and _UNKNOWN not in tags.values()
        entry = Entry(
            format=FORMAT,
            token=departure.token,
            epoch=versions.epochs.get(bucket_of(key), b"") if versions and sound else b"",
            loaded_at=(versions.now if versions else 0) - math.ceil(1000 * (departure.began - loaded)),
            ttl=_ms(fresh_until - loaded) if made.store else 0,
            stale_for=_ms(stale_until - fresh_until),
            load_time=_ms(_lead(made, came, fresh_until)),
            tags=tuple((tag, epoch, counter) for tag, (epoch, counter) in tags.items()),
            sealed=policy.sensitive,
            payload=payload,
            compressed=policy.compress_above is not None and len(memoryview(payload)) > policy.compress_above,
            failed=failed,
            as_of=None if made.as_of is None else int(made.as_of * 1000),
            etag=made.etag,
        )
        return entry, loaded

    def _times(self, made: Loaded, came: _Return, stale_for: float) -> tuple[float, float, float]:
        """Return when the oldest part was loaded, until when the value is fresh, and stale."""
        policy, frame, began = came.job.policy, came.frame, came.departure.began
        ttl = made.ttl if made.ttl is not None else policy.ttl * (1 - policy.jitter * self._chance())
        fresh_until = min(began + ttl, frame.fresh_until)
        stale_until = min(fresh_until + stale_for, max(fresh_until, frame.stale_until))
        return min(began, frame.loaded), fresh_until, stale_until


def _lead(made: Loaded, came: _Return, fresh_until: float) -> float:
    """Return the load time, seconds, that decides when what came is refreshed; 0: not early."""
    if not made.early_refresh:
        return 0.0
    took = max(came.took, _SOON)
    if not made.early_as_parts:
        return took
    return max(took, (fresh_until - came.frame.early_at) / EARLY_FACTOR)


def _ms(seconds: float) -> int:
    """Return whole milliseconds, never more than *seconds* but for the rounding of differences of times."""
    return min(MAX_MS, max(0, int(seconds * 1000 + _ROUNDING_MS)))


def refuse_async(loader: Callable[..., Any] | None) -> None:
    """Raise TypeError if *loader* is an async function."""
    code = getattr(
        loader, "__code__", None
    )  # of a function or method; to ask inspect costs ten times as much
    if bool(code.co_flags & inspect.CO_COROUTINE) if code else inspect.iscoroutinefunction(loader):
        raise TypeError("the loader is an async function; this cache is synchronous")
