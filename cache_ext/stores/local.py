"""The stores of a process that shares with nobody: `memory://`, and `null://` which keeps nothing."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from cache_ext.entry import Version, new_stamp
from cache_ext.keys import BUCKETS, bucket_of
from cache_ext.stores.base import Snapshot, Standing, Started, Versions, Write

MAX_STANDINGS = 100_000
"""Invalidated tags that are remembered singly; with more of them everything is invalidated once."""
_NEVER = Standing(0)


class LocalStore:
    """Implements `stores.base.Store` for one process: it keeps versions and leases, the values lie in L1.

    So an entry lives in memory once, bounded with L1, and is fenced by the same rule as everywhere.

    Args:
        clock: Unix seconds.
    """

    name = ""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._epochs = {bucket: new_stamp() for bucket in range(BUCKETS)}
        self._sequences: defaultdict[int, int] = defaultdict(int)
        self._standings: dict[str, Standing] = {}
        self._leases: dict[str, bytes] = {}

    def read(
        self, keys: Collection[str], tags: Collection[str], clock: Callable[[], int] | None = None
    ) -> Snapshot:
        """See `Store.read`; there are never bytes to find."""
        with self._lock:
            return Snapshot(self._versions(tags), {})

    def begin(
        self, seen: Mapping[str, bytes | None], tags: Collection[str], token: bytes, life: float
    ) -> Started:
        """See `Store.begin`; loads of one process are coalesced already, so the newest gets the lease."""
        with self._lock:
            self._leases.update(dict.fromkeys(seen, token))
            return Started(self._versions(tags), frozenset(seen))

    def fill(self, writes: Sequence[Write], token: bytes) -> frozenset[str]:
        """See `Store.fill`."""
        with self._lock:
            mine = frozenset(write.key for write in writes if self._leases.get(write.key) == token)
            for key in mine:
                del self._leases[key]
            return mine

    def release(self, keys: Collection[str], token: bytes) -> None:
        """See `Store.release`."""
        with self._lock:
            for key in keys:
                if self._leases.get(key) == token:
                    del self._leases[key]

    def renew(self, keys: Collection[str], token: bytes) -> None:
        """See `Store.renew`; leases last as long as their load."""

    def delete(self, keys: Collection[str]) -> int:
        """See `Store.delete`."""
        with self._lock:
            for key in keys:
                self._leases.pop(key, None)
        return 0

    def invalidate(self, tags: Collection[str], soft: bool = False) -> Mapping[str, Version]:
        """See `Store.invalidate`."""
        given = {}
        with self._lock:
            for tag in tags:
                bucket = bucket_of(tag)
                self._sequences[bucket] += 1
                position = self._sequences[bucket]
                hard = self._standings.get(tag, _NEVER).hard
                self._standings[tag] = Standing(hard, position) if soft else Standing(position)
                given[tag] = Version(self._epochs[bucket], position)
            if len(self._standings) > MAX_STANDINGS:
                self._replace_epochs()
        return given

    def clear(self) -> Mapping[int, bytes]:
        """See `Store.clear`."""
        with self._lock:
            self._replace_epochs()
            return dict(self._epochs)

    def positions(self) -> Mapping[int, Version]:
        """See `Store.positions`."""
        with self._lock:
            return {bucket: Version(epoch, self._sequences[bucket]) for bucket, epoch in self._epochs.items()}

    def _replace_epochs(self) -> None:
        self._epochs = {bucket: new_stamp() for bucket in range(BUCKETS)}
        self._standings.clear()

    def _versions(self, tags: Collection[str]) -> Versions:
        now = int(self._clock() * 1000)
        standings = {tag: self._standings.get(tag, _NEVER).stored for tag in tags}
        return Versions(now, dict(self._epochs), standings)


class NullStore(LocalStore):
    """Grants every load and keeps nothing."""

    def fill(self, writes: Sequence[Write], token: bytes) -> frozenset[str]:
        """See `Store.fill`; nothing is stored."""
        super().fill(writes, token)
        return frozenset()
