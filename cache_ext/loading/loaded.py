"""What a loader may return instead of the bare value, and what it may know of the value before."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

from cache_ext.entry import AS_OF_MS
from cache_ext.errors import CacheError, ConfigurationError
from cache_ext.keys import check_tags
from cache_ext.reading.frames import current_frame
from cache_ext.reading.slot import Slot


class NotLoaded(CacheError, KeyError):
    """The loader of many gave no value for this key."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loader may return instead of the bare value, to say more about it.

    Args:
        value: the value.
        ttl: seconds, instead of the policy's; 0 answers the callers but stores nothing.
        early_refresh: False if loading it before its end would bring the same again.
        tags: more names under which it can be invalidated, as the value itself says. An invalidation of one
            that passed during the load keeps the value from being stored.
        as_of: the data's own time (say, the exchange's), Unix seconds.
        etag: what the origin calls this version; the next load is told, see `previous`.
        store: False answers the callers but stores nothing.
        stale_for: seconds past the ttl that the value is kept, instead of the policy's; what the policy
            allows, it allows of that.
        early_as_parts: refresh it no later than the first of the values that it was made of, however fast it
            was made of them; for loaders that may be called again before those are there.
    Raises:
        ConfigurationError: a number makes no sense.
    """

    value: Any
    ttl: float | None = None
    early_refresh: bool = True
    _: KW_ONLY
    tags: tuple[str, ...] = ()
    as_of: float | None = None
    etag: str = ""
    store: bool = True
    stale_for: float | None = None
    early_as_parts: bool = False

    def __post_init__(self) -> None:
        _check(self.ttl, self.as_of)
        if self.stale_for is not None and not 0 <= self.stale_for < math.inf:
            raise ConfigurationError(f"stale_for is a number of seconds, at least 0: {self.stale_for!r}")


@dataclass(frozen=True, slots=True)
class NotModified:
    """What a loader returns if the origin still has what `previous` told of: that value gets a new life.

    Args:
        ttl: seconds, instead of the policy's.
        as_of: the data's own time, if the origin gave a new one; Unix seconds.
    Raises:
        ConfigurationError: a number makes no sense.
    """

    ttl: float | None = None
    as_of: float | None = None

    def __post_init__(self) -> None:
        _check(self.ttl, self.as_of)


@dataclass(frozen=True, slots=True)
class Previous:
    """The value that is being replaced, expired or about to; no invalidation of it is known.

    Args:
        value: a copy of the loader's own.
        etag: what the origin called it, "" if it did not.
        as_of: the data's own time, Unix seconds; None if it has none.
    """

    value: Any
    etag: str
    as_of: float | None


def previous(key: str | None = None) -> Previous | None:
    """Return the value that the load under way is to replace; None if there is none, or no load.

    Args:
        key: which; needed only in a loader of many.
    Raises:
        ConfigurationError: no *key*, and several are being loaded.
    """
    frame = current_frame()
    if frame is None:
        return None
    if key is None:
        if len(frame.keys) != 1:
            raise ConfigurationError("several keys are being loaded: say which one's previous value")
        (key,) = frame.keys
    slot = frame.previous.get(key)
    if slot is None or slot.entry.failed:
        return None
    return Previous(slot.take(), slot.entry.etag, as_of_seconds(slot.entry.as_of))


def answer_of(given: Any, before: Slot | None) -> Loaded | Exception:
    """Return what a loader means by *given*, for one key,, in full or as what went wrong.

    Args:
        before: what the loader was told of as the previous value.
    """
    if isinstance(given, NotModified):
        if before is None:
            return ConfigurationError("the loader says NotModified, but previous() told of nothing")
        old = before.entry
        as_of = given.as_of if given.as_of is not None else as_of_seconds(old.as_of)
        tags = tuple(tag for tag, _, _ in old.tags)
        return Loaded(before.take(), given.ttl, tags=tags, as_of=as_of, etag=old.etag)
    if isinstance(given, Exception):
        return given
    made = given if isinstance(given, Loaded) else Loaded(given)
    try:
        check_tags(made.tags)
    except ConfigurationError as error:
        return error
    return made


def as_of_seconds(milliseconds: int | None) -> float | None:
    """Return an entry's `as_of` in Unix seconds."""
    return None if milliseconds is None else milliseconds / 1000


def _check(ttl: float | None, as_of: float | None) -> None:
    if ttl is not None and not 0 <= ttl < math.inf:
        raise ConfigurationError(f"ttl is a number of seconds, at least 0: {ttl!r}")
    if as_of is not None and not 0 <= as_of * 1000 < AS_OF_MS.stop:
        raise ConfigurationError(f"as_of is Unix time in seconds: {as_of!r}")
