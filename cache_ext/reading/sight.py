"""What one look at the shared store shows: plain hits, and whatever needs a second thought."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from cache_ext.codec.entries import EntryCodec
from cache_ext.entry import Entry
from cache_ext.loading.loaded import as_of_seconds
from cache_ext.reading.fetched import Fetched, Outcome
from cache_ext.reading.first_take import FirstTake
from cache_ext.reading.found import Found
from cache_ext.reading.near import NearCache
from cache_ext.reading.slot import EARLY_FACTOR, Slot
from cache_ext.stores.base import Snapshot


class Sight:
    """What was seen of some keys: each is a plain hit or is found.

    A plain hit counts, is fresh, needs no refresh soon, and is no stored error: whoever asked may serve its
    value with nothing else to do. So for most reads there is nothing but a few dicts.

    Args:
        generation: of the backplane's trust before the look.
        ahead: seconds that the store's clock (Unix time) is ahead of the monotonic one.
    """

    __slots__ = ("ahead", "entries", "found", "generation", "values")

    def __init__(self, generation: int = 0, ahead: float = 0.0) -> None:
        self.generation = generation
        self.ahead = ahead
        self.entries: dict[str, Entry] = {}
        """Of plain hits."""
        self.values: dict[str, Any] = {}
        """Of plain hits: just decoded, and nobody's but the caller's."""
        self.found: Mapping[str, Found] = {}
        """Of all other keys."""

    def with_found(self, more: Mapping[str, Found]) -> Sight:
        """Return this, with *more* that was found."""
        self.found = {**self.found, **more}
        return self

    def fetched(self, key: str, now: float) -> Fetched:
        """Return the plain hit *key* in full; *now*: seconds on the monotonic clock."""
        entry = self.entries[key]
        age = max(0.0, now + self.ahead - entry.loaded_at / 1000)
        as_of = as_of_seconds(entry.as_of)
        return Fetched(self.values[key], Outcome.HIT, "l2", age, entry.ttl / 1000 - age, as_of)


class Picker:
    """Picks the plain hits out of what the shared store answered: the short way of most reads."""

    def __init__(self, codec: EntryCodec, near: NearCache) -> None:
        self._codec = codec
        self._near = near

    def pick(
        self, sight: Sight, tags_of: Mapping[str, Collection[str]], snapshot: Snapshot, mark: int
    ) -> None:
        """Add to *sight* the plain hits of *snapshot*, and keep them in L1.

        Args:
            tags_of: by key, the tags that it must have, as tuples.
            mark: of L1 before the look.
        """
        blobs = snapshot.blobs
        if held := self._near.held(tags_of):
            blobs = {key: blob for key, blob in blobs.items() if key not in held}
        entries = snapshot.versions.unchanged(self._codec.decode_plain(blobs), tags_of, EARLY_FACTOR)
        sight.values = self._codec.values.decode_all(entries)
        if len(sight.values) < len(entries):  # who is left out is looked at again, and counted
            entries = {key: entries[key] for key in sight.values}
        sight.entries = entries
        if self._near.keeps:
            self._near.put_all(self.slots(sight, entries), mark)

    def slots(self, sight: Sight, keys: Iterable[str]) -> list[Slot]:
        """Return plain hits, by their keys, as slots."""
        entries, ahead, generation = sight.entries, sight.ahead, sight.generation
        values, settle = self._codec.values, self._near.settle
        made = []
        for key in keys:
            entry = entries[key]
            take = FirstTake(key, [], entry.payload, values, settle)
            made.append(Slot(key, entry, entry.loaded_at / 1000 - ahead, generation, take))
        return made
