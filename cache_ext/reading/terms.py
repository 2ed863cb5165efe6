"""What a caller demands of a value beyond its being fresh: `Terms`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol, TypedDict

from cache_ext.entry import Entry
from cache_ext.errors import CacheError, ConfigurationError
from cache_ext.policy import CachePolicy
from cache_ext.reading.slot import Slot


class OlderThanSeen(CacheError):
    """The origin, too, has nothing as new as what the caller has seen already."""


class Invalidation(Protocol):
    """An invalidation that the caller knows of; a `Receipt`."""

    def outdates(self, key: str, entry: Entry) -> bool:
        """Tell whether *entry*, a copy of this process, may be from before it."""


class Wishes(TypedDict, total=False):
    """What one call may ask for.

    Args:
        max_stale: seconds past its ttl that a value may be served, at most, whatever the policy allows;
            0: never stale.
        after: the receipt of an invalidation, from whichever process: nothing older is served, from L1
            either, without waiting for the backplane.
        not_older_than: the `as_of` of data that the caller has seen, Unix seconds: nothing older is served.
    """

    max_stale: float
    after: Invalidation
    not_older_than: float


@dataclass(frozen=True, slots=True)
class Terms:
    """What a call demands: its policy's share and its own wishes.

    Args:
        sensitive: only what was sealed: who can write to the store cannot make that.
        errors: stored errors that the caller is prepared for; others are misses.
        l1_ttl: seconds after which this process' copy is checked, None: never.
        max_stale, after, not_older_than: see `Wishes`.
    """

    sensitive: bool = False
    errors: tuple[type[Exception], ...] = ()
    l1_ttl: float | None = None
    max_stale: float = math.inf
    after: Invalidation | None = None
    not_older_than: float = -math.inf

    @property
    def shared(self) -> bool:
        """Whether what somebody is just being told suits this caller too."""
        return self.after is None and self.not_older_than == -math.inf

    def accept(self, slot: Slot, *, from_store: bool) -> bool:
        """Tell whether *slot* may be served; *from_store*: the shared store has just vouched for it."""
        entry = slot.entry
        if entry.sealed < self.sensitive or (entry.failed and not isinstance(slot.take(), self.errors)):
            return False
        if not self.is_new_enough(slot):
            return False
        return from_store or self.after is None or not self.after.outdates(slot.key, entry)

    def is_new_enough(self, slot: Slot) -> bool:
        """Tell whether the data of *slot* are as new as what the caller has seen."""
        if self.not_older_than == -math.inf:
            return True
        as_of = slot.entry.as_of
        return as_of is not None and as_of >= int(self.not_older_than * 1000)


ANY = Terms()


def terms_of(policy: CachePolicy, wishes: Wishes, *, shares: bool) -> Terms:
    """Return what a call with *policy* and *wishes* demands.

    Args:
        shares: whether there is a shared store to ask again.
    Raises:
        ConfigurationError: a wish makes no sense.
    """
    plain = _plain_terms(policy.sensitive, policy.cache_errors, policy.l1_ttl if shares else None)
    if not wishes:
        return plain
    for name in ("max_stale", "not_older_than"):
        value = wishes.get(name, 0.0)
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ConfigurationError(f"{name} is a number of seconds, at least 0: {value!r}")
    return replace(plain, **wishes)


@lru_cache(maxsize=256)
def _plain_terms(sensitive: bool, errors: tuple[type[Exception], ...], l1_ttl: float | None) -> Terms:
    return Terms(sensitive, errors, l1_ttl) if sensitive or errors or l1_ttl is not None else ANY
