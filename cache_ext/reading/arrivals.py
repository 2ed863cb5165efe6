"""Entries that came for L1 and that nobody has asked it for yet: bytes, which are slots once somebody does.

Making a slot and giving it its place takes as long as all else that is done for a key of a batch, and much
of what comes in batches has expired before it is asked for again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Protocol

from cache_ext.reading.slot import Slot

ARRIVAL_BYTES = 330
"""Measured cost of an arrival that came alone, beside its bytes and its key's (tests/test_arrivals.py)."""
ARRIVALS_SHARE = 0.05
"""Share of the bytes of L1 that arrivals may have."""

_AT_ONCE = 64


class Batch(Protocol):
    """What the entries of one look have in common."""

    @property
    def mark(self) -> int:
        """L1's mark before the look."""

    def slot(self, key: str, blob: bytes) -> Slot:
        """Return *blob*, which is known to be good, as a slot."""


class Arrivals:
    """Bytes by key, in the order they came. Not locked, as `Shelf`.

    Args:
        max_bytes: of L1; the arrivals have a share of it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.waiting: dict[str, bytes] = {}
        """What lies here; not to be changed by others."""
        self._batches: dict[str, Batch] = {}
        self._most = int(max_bytes * ARRIVALS_SHARE)
        self.bytes = 0

    @property
    def too_many(self) -> bool:
        """Whether they take more than their share."""
        return self.bytes > self._most

    def add(self, blobs: Mapping[str, bytes], batch: Batch) -> None:
        """Take in *blobs*, by key; what lies there under one of these keys goes."""
        self.drop(blobs)
        self.waiting.update(blobs)
        self._batches.update(dict.fromkeys(blobs, batch))
        self.bytes += sum(map(len, blobs)) + sum(map(len, blobs.values())) + ARRIVAL_BYTES * len(blobs)

    def take(self, key: str) -> tuple[bytes, Batch] | None:
        """Return what came for *key*, which counts no more; `drop` it when what becomes of it is in place."""
        batch = self._batches.pop(key, None)
        if batch is None:
            return None
        blob = self.waiting[key]
        self.bytes -= len(key) + len(blob) + ARRIVAL_BYTES
        return blob, batch

    def drop(self, keys: Collection[str]) -> list[tuple[str, int]]:
        """Remove *keys*; return those that there were, and their bytes."""
        if not self.waiting:
            return []
        gone = []
        for key in list(filter(self.waiting.__contains__, keys)):
            self.take(key)
            gone.append((key, len(self.waiting.pop(key))))
        return gone

    def first(self) -> list[str]:
        """Return the keys of what came first: several, as finding them takes a while."""
        return list(islice(self.waiting, _AT_ONCE))

    def clear(self) -> None:
        """Remove everything."""
        self.waiting.clear()
        self._batches.clear()
        self.bytes = 0
