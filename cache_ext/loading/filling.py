"""Storing what was loaded, or giving the lease back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cache_ext.codec.entries import EntryCodec
from cache_ext.errors import StoreUnavailable, UnsupportedValue
from cache_ext.loading.origin import Departure
from cache_ext.loading.upkeep import Leases
from cache_ext.reading.slot import Slot
from cache_ext.stores.base import Store, Write


class Filler:
    """Brings the results of loads to the shared store.

    Args:
        store: where to.
        codec: how entries travel.
        leases: are told of those that may be left over.
    """

    def __init__(self, store: Store, codec: EntryCodec, leases: Leases) -> None:
        self._store = store
        self._codec = codec
        self.orphan = leases.orphan

    def fill(self, outcomes: Mapping[str, Slot | Exception], departure: Departure) -> frozenset[str] | None:
        """Store what came, if it may be; return which keys the store kept, None if it did not answer."""
        writes = []
        for key, slot in outcomes.items():
            if isinstance(slot, Slot) and slot.entry.epoch and slot.entry.ttl:
                blob = self._codec.encode(slot.entry, key)
                if not self._codec.excess(slot.entry, blob):
                    writes.append(Write(key, blob, slot.entry.ttl + slot.entry.stale_for))
        if not writes:
            return frozenset()
        try:
            return self._store.fill(writes, departure.token)
        except StoreUnavailable:
            self.orphan(departure.token, list(outcomes))
            return None

    def refuse_oversize(self, slot: Slot) -> None:
        """Raise UnsupportedValue if *slot* is larger than the settings let an entry be."""
        if size := self._codec.excess(slot.entry, self._codec.encode(slot.entry, slot.key)):
            raise UnsupportedValue(f"{size} bytes are more than max_entry_bytes")

    def release(self, keys: Sequence[str], token: bytes) -> None:
        """End the leases that *token* has of *keys*: at once, or as soon as the store answers."""
        if not keys:
            return
        try:
            self._store.release(keys, token)
        except StoreUnavailable:
            self.orphan(token, keys)
