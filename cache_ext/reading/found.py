"""What a read finds: `Found`, and the first questions about it."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from cache_ext.codec.entries import TOKEN_AT, TOKEN_BYTES
from cache_ext.entry import Entry
from cache_ext.reading.slot import Slot
from cache_ext.reading.terms import Terms

UNCHECKED_LIFE = 5.0
"""Seconds since its load for which L1 serves a value that cannot be revalidated, Redis being away."""


class Found(Struct, frozen=True):
    """What was found of one key.

    Args:
        slot: an entry that no known invalidation has passed, fresh or not; None if there is none.
        seen: the token of what lies in the store, b"" if nothing does, whether it counts or not.
        layer: ``l1`` or ``l2``.
        checked: whether the store, or a live backplane, vouches for it.
    """

    slot: Slot | None
    seen: bytes = b""
    layer: str = "l2"
    checked: bool = True

    def fresh_at(self, now: float) -> Slot | None:
        """Return the slot if it may be served unmarked at *now*, seconds on the monotonic clock."""
        slot = self.slot
        if slot is None or now >= slot.fresh_until:
            return None
        return slot if self.checked or now < slot.loaded + UNCHECKED_LIFE else None


def token_of(blob: bytes) -> bytes:
    """Return the token in stored bytes, readable or not; what scripts compare."""
    return blob[TOKEN_AT : TOKEN_AT + TOKEN_BYTES]


def suits(entry: Entry, tags: Collection[str], terms: Terms) -> bool:
    """Tell whether *entry* has all *tags*, as an older program's may not; no unexpected error."""
    if entry.failed and not terms.errors:
        return False
    return not tags or {tag for tag, _, _ in entry.tags}.issuperset(tags)
