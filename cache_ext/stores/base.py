"""The seam to the shared store: what the engine asks of it, and what it answers.

Validity is judged at reading, from versions, never at writing; so nothing here needs a lock or a condition
that spans buckets. Each method is one round trip, however many names it is given.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Raw

from cache_ext.entry import Entry, OpenEntry, Version
from cache_ext.keys import bucket_of, is_witness
from cache_ext.wanted import Wanted

_RECENT_VERSIONS = 4_096
"""Versions that are remembered: from read to read few change."""
_TAGS = msgspec.msgpack.Decoder(tuple[tuple[str, bytes, int], ...])
_VERSION = re.compile(rb"(\d{1,16})(?::(\d{1,16}))?")


class Standing(NamedTuple):
    """The sequence numbers that last invalidated a tag, and softly (0: not since it was invalidated)."""

    hard: int
    soft: int = 0

    @property
    def counter(self) -> int:
        """What a load notes: who is older than this is at best stale."""
        return max(self)

    @property
    def stored(self) -> bytes:
        """How it lies in the store: the numbers in decimals, the second one only if there is one."""
        return b"%d:%d" % self if self.soft else b"%d" % self.hard


class Judgement(enum.Enum):
    """What versions say of an entry: GOOD: its ttl counts; STALE: it is past it; GONE: it is nothing."""

    GOOD = "good"
    STALE = "stale"
    GONE = "gone"


class Versions(NamedTuple):
    """The store's state at one moment: its clock, the epochs of buckets and the standings of tags.

    Args:
        now: the store's clock, Unix ms; a little late rather than early.
        epochs: by bucket; a bucket without one is absent.
        standings: by tag, as they are stored; a tag whose version is not known is absent, or has None.
    """

    now: int
    epochs: Mapping[int, bytes]
    standings: Mapping[str, bytes | None]

    def standing(self, tag: str) -> Standing | None:
        """Return the standing of *tag*, None if it is not known."""
        stored = self.standings.get(tag)
        if isinstance(stored, bytes):
            return _standing(stored)
        return Standing(0) if is_witness(tag) and tag in self.standings else None

    def of(self, tag: str) -> Version | None:
        """Return the version of *tag*, None if it is not known."""
        epoch, standing = self.epochs.get(bucket_of(tag)), self.standing(tag)
        return None if epoch is None or standing is None else Version(epoch, standing.counter)

    def judge(self, key: str, entry: Entry) -> Judgement:
        """Tell whether *entry*, found at *key*, was made under these versions, or softly invalidated ones.

        An entry from the future of the store's clock is gone too: that clock was set back, so how old the
        entry is cannot be told. So is one from the future of its tags: their versions were set back.
        """
        if self.epochs.get(bucket_of(key)) != entry.epoch or entry.loaded_at > self.now:
            return Judgement.GONE
        judgement = Judgement.GOOD
        for tag, epoch, counter in entry.tags:
            standing = self.standing(tag)
            if standing is None or self.epochs.get(bucket_of(tag)) != epoch:
                return Judgement.GONE
            if not standing.hard <= counter <= standing.counter:
                return Judgement.GONE
            if standing.soft > counter:
                judgement = Judgement.STALE
        return judgement

    def expected(
        self, tags_of: Mapping[str, Collection[str]]
    ) -> Mapping[str, tuple[bytes | None, Raw | None]]:
        """Return, by key, the epoch and the encoded tags of an entry of just these versions and *tags_of*.

        None stands for what no entry has.
        """
        noted = tags_of.credentials if isinstance(tags_of, Wanted) else None
        if noted is not None and noted[0] is self.epochs and noted[1] is self.standings:
            return noted[2]
        expected = {}
        for key, tags in tags_of.items():
            shown = tuple([self._credential(tag) for tag in tags])
            encoded = None if None in shown else Raw(msgspec.msgpack.encode(shown))
            expected[key] = self.epochs.get(bucket_of(key)), encoded
        if isinstance(tags_of, Wanted):
            tags_of.credentials = self.epochs, self.standings, expected
        return expected

    def _credential(self, tag: str) -> tuple[str, bytes, int] | None:
        """Return what an entry has for *tag* if it was made under these versions and none of them is soft."""
        epoch, stored = self.epochs.get(bucket_of(tag)), self.standings.get(tag)
        standing = None if stored is None else _standing(stored)
        if epoch is None or standing is None or standing.soft:
            return None
        return tag, epoch, standing.hard

    def cover(self, entry: OpenEntry, tags: Collection[str]) -> bool:
        """Tell whether *entry* has *tags* and others, all of them of just these versions."""
        try:
            shown = _TAGS.decode(entry.tags)
        except msgspec.MsgspecError:
            return False
        has = {tag for tag, _, _ in shown}
        return has.issuperset(tags) and all(self._credential(one[0]) == one for one in shown)


@lru_cache(_RECENT_VERSIONS)
def _standing(stored: bytes) -> Standing | None:
    """Return what *stored* says; what is no version does not count as one."""
    match = _VERSION.fullmatch(stored)
    return Standing(int(match[1]), int(match[2] or 0)) if match else None


class Snapshot(NamedTuple):
    """What a read found. `blobs` has the stored bytes of each key that has any."""

    versions: Versions
    blobs: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Started:
    """What a load may count on. Each key asked for is in exactly one of the three.

    Args:
        versions: noted before the load; all tags that were named have one.
        granted: keys whose lease is ours.
        busy: keys that somebody else is loading, and the seconds until his lease ends.
        changed: keys whose stored bytes are not those the caller had seen; no lease was taken.
    """

    versions: Versions
    granted: frozenset[str] = frozenset()
    busy: Mapping[str, float] = field(default_factory=dict)
    changed: Mapping[str, bytes] = field(default_factory=dict)


class Write(NamedTuple):
    """Bytes to store at a key for *life_ms* milliseconds."""

    key: str
    blob: bytes
    life_ms: int


class Store(Protocol):
    """A store that the engine can share with other processes. All methods may raise StoreUnavailable."""

    name: str
    """Signs what it tells other processes, so that this one knows its own messages; "" if it tells none."""

    def read(
        self, keys: Collection[str], tags: Collection[str], clock: Callable[[], int] | None = None
    ) -> Snapshot:
        """Return what lies at *keys*, the epochs of all buckets concerned, the standings of *tags*.

        Args:
            clock: tells the store's clock, Unix ms, rather late than early; called when the answer is here.
                Without it the store is asked.
        """

    def begin(
        self,
        seen: Mapping[str, bytes | None],
        tags: Collection[str],
        token: bytes,
        life: float,
    ) -> Started:
        """Note versions, making those that are lost anew, and take the leases of the keys of *seen*.

        Args:
            seen: per key the token of the entry that the caller knows (b"" if none): he gets the lease only
                if that is still what lies there; None takes the lease over from whoever has it.
            token: 8 bytes that identify this load; only its holder may `fill`.
            life: seconds for which the tags' versions must be remembered.
        """

    def fill(self, writes: Sequence[Write], token: bytes) -> frozenset[str]:
        """Store what was loaded under leases of *token*, end these, wake who waits; return what was kept."""

    def release(self, keys: Collection[str], token: bytes) -> None:
        """End leases of *token* without a value, and wake who waits."""

    def renew(self, keys: Collection[str], token: bytes) -> None:
        """Prolong leases of *token*."""

    def delete(self, keys: Collection[str]) -> int:
        """Remove what lies at *keys*, void loads under way; return how many there were."""

    def invalidate(self, tags: Collection[str], soft: bool = False) -> Mapping[str, Version]:
        """Give *tags* new versions, and return them: what was made before is gone, or (*soft*) stale."""

    def clear(self) -> Mapping[int, bytes]:
        """Replace all epochs: nothing stored so far counts any more. Return the new ones, by bucket."""

    def positions(self) -> Mapping[int, Version]:
        """Return the epoch and the sequence number of each bucket that has them."""
