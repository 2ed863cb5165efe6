"""What one look at the shared store shows: plain hits, and whatever needs a second thought."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cache_ext.codec.entries import EntryCodec
from cache_ext.entry import OpenEntry
from cache_ext.loading.loaded import as_of_seconds
from cache_ext.reading.fetched import Fetched, Outcome
from cache_ext.reading.first_take import FirstTake
from cache_ext.reading.found import Found
from cache_ext.reading.near import NearCache
from cache_ext.reading.slot import EARLY_FACTOR, Slot
from cache_ext.stores.base import Snapshot, Versions

_NOTHING: Mapping[str, Any] = {}


class Plain:
    """How plain hits of one look become slots.

    Args:
        codec: decodes their bytes.
        near: L1, where they lie.
        mark: of L1 before the look.
        generation: of the backplane's trust before the look.
        ahead: seconds that the store's clock (Unix time) is ahead of the monotonic one.
    """

    __slots__ = ("_codec", "_near", "ahead", "generation", "mark")

    def __init__(
        self, codec: EntryCodec, near: NearCache, mark: int, generation: int, ahead: float = 0.0
    ) -> None:
        self._codec = codec
        self._near = near
        self.mark = mark
        self.generation = generation
        self.ahead = ahead

    def slot(self, key: str, blob: bytes) -> Slot:
        """Return *blob*, the stored bytes of *key*, as a slot."""
        entry = self._codec.decode(blob, key)
        take = FirstTake(key, [], entry.payload, self._codec.values, self._near.settle)
        return Slot(key, entry, entry.loaded_at / 1000 - self.ahead, self.generation, take)


class Sight:
    """What was seen of some keys: each is a plain hit or is found.

    A plain hit counts, is fresh, needs no refresh soon, and is no stored error: whoever asked may serve its
    value with nothing else to do. So for most reads there is nothing but a few dicts.

    Args:
        found: what is no plain hit.
        plain: how plain hits become slots; None if there are none.
        blobs: the stored bytes of plain hits.
        entries: plain hits.
    """

    __slots__ = ("blobs", "entries", "found", "plain", "values")

    def __init__(
        self,
        found: Mapping[str, Found],
        plain: Plain | None = None,
        blobs: Mapping[str, bytes] = _NOTHING,
        entries: Mapping[str, OpenEntry] = _NOTHING,
    ) -> None:
        self.found = found
        self.plain = plain
        self.blobs = blobs
        self.entries = entries
        self.values = {key: entry.payload for key, entry in entries.items()}
        """Of plain hits: just decoded, and nobody's but the caller's."""

    def with_found(self, more: Mapping[str, Found]) -> Sight:
        """Return a sight of this and *more* that was found."""
        return Sight({**self.found, **more}, self.plain, self.blobs, self.entries)

    def slot(self, key: str) -> Slot | None:
        """Return the plain hit *key* as a slot; None if it is none."""
        if self.plain is None or key not in self.entries:
            return None
        return self.plain.slot(key, self.blobs[key])

    def fetched(self, key: str, now: float) -> Fetched:
        """Return the plain hit *key* in full; *now*: seconds on the monotonic clock."""
        entry = self.entries[key]
        ahead = 0.0 if self.plain is None else self.plain.ahead
        age = max(0.0, now + ahead - entry.loaded_at / 1000)
        as_of = as_of_seconds(entry.as_of)
        return Fetched(self.values[key], Outcome.HIT, "l2", age, entry.ttl / 1000 - age, as_of)


NOTHING_SEEN = Sight(_NOTHING)


class Picker:
    """Picks the plain hits out of what the shared store answered: the short way of most reads."""

    def __init__(self, codec: EntryCodec, near: NearCache) -> None:
        self._codec = codec
        self._near = near

    def pick(
        self,
        tags_of: Mapping[str, Collection[str]],
        snapshot: Snapshot,
        mark: int,
        generation: int,
        began: float,
    ) -> Sight:
        """Return a sight with the plain hits of *snapshot*, and have them kept in L1.

        Args:
            tags_of: by key, the tags that it must have, as tuples.
            mark, generation, began: L1's mark, the trust's generation and the monotonic clock (s) before
                the look.
        """
        blobs, versions = snapshot.blobs, snapshot.versions
        plain = Plain(self._codec, self._near, mark, generation, versions.now / 1000 - began)
        if held := self._near.held(tags_of):
            blobs = {key: blob for key, blob in blobs.items() if key not in held}
        entries = _plain_hits(self._codec.decode_open(blobs), versions, tags_of)
        if len(entries) < len(blobs):
            blobs = {key: blobs[key] for key in entries}
        if blobs and self._near.keeps:
            self._near.expect(blobs, plain)
        return Sight(_NOTHING, plain, blobs, entries)


def _plain_hits(
    entries: Mapping[str, OpenEntry], versions: Versions, tags_of: Mapping[str, Collection[str]]
) -> dict[str, OpenEntry]:
    """Return those of *entries* that are plain hits under *versions* and have the tags in *tags_of*."""
    now, expected, hits = versions.now, versions.expected(tags_of), {}
    for key, entry in entries.items():
        epoch, tags = expected[key]
        if (
            entry.epoch == epoch
            and (entry.tags == tags or versions.cover(entry, tags_of[key]))
            and 0 <= now - entry.loaded_at < entry.ttl - EARLY_FACTOR * entry.load_time
            and not (entry.sealed or entry.compressed or entry.failed)
        ):
            hits[key] = entry
    return hits
