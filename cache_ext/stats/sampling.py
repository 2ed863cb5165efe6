"""Which keys and tags are read most, told from samples: between two of them a read costs nothing at all.

Once a second, for some tens of reads, the methods that reads go through are replaced by ones that look at
what passes; then they are put back. So nobody counts keys, and the shares are right still: what is read
twice as often is seen twice as often. The names that were seen most are kept in a table of fixed size.

Source: the table, Metwally et al., "Efficient computation of frequent and top-k elements in data streams",
ICDT 2005 ("space saving").
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

BURST = 64
"""Reads that are looked at, once a second."""
PLACES = 256
"""Names in a table. What is read more often than one read in so many is in it for sure."""
TOP = 20
"""Names that are told."""

Seen = Iterable[tuple[str, Iterable[str]]]
"""Keys that were read, and the tags of each."""
Look = Callable[[tuple[Any, ...], Any], Seen]
"""Returns what was read, given the arguments of the method and what it returned."""


class Table:
    """The names that were added most often, with about how often that was."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, name: str) -> None:
        """Count *name*; one that is new takes the place of the rarest, and its count."""
        counts = self._counts
        if name not in counts and len(counts) >= PLACES:
            rarest = min(counts, key=counts.__getitem__)
            counts[name] = counts.pop(rarest)
        counts[name] = counts.get(name, 0) + 1

    def counts(self) -> dict[str, int]:
        """Return how often each was added, about."""
        return dict(self._counts)


class _Minute:
    """What was seen in a minute."""

    def __init__(self) -> None:
        self.reads = 0
        self.keys = Table()
        self.tags = Table()


def slot_read(given: tuple[Any, ...], slot: Any) -> Seen:
    """Look at a method that returns the slot of the key given first, None if there is none."""
    if slot is None or slot.entry.sealed:
        return ()
    return ((slot.key, [tag for tag, _, _ in slot.entry.tags]),)


def job_read(given: tuple[Any, ...], result: Any) -> Seen:
    """Look at a method that is given a job, whose keys it reads."""
    (job,) = given
    return () if job.policy.sensitive else job.tags_of.items()


class Top(NamedTuple):
    """The most read names, and about how often each was read in this minute and the one before."""

    keys: Mapping[str, int]
    tags: Mapping[str, int]


class _Watched(NamedTuple):
    """A method, of an object that is not kept alive, that reads go through."""

    owner: weakref.ref[Any]
    method: str
    look: Look


class Sampler:
    """Looks at some of the reads of one cache in this process."""

    def __init__(self) -> None:
        self._watched: list[_Watched] = []
        self._lock = threading.Lock()
        self._left = 0
        self._restore: list[Callable[[], None]] = []
        self._number = 0
        self._minutes = (_Minute(), _Minute())

    def watch(self, owner: object, method: str, look: Look = slot_read) -> None:
        """Have what passes through *method* of *owner* looked at, now and then.

        From now on it is an attribute of the object itself, so that replacing it leaves the shape of the
        object, by which the interpreter finds attributes fast, as it is.
        """
        made = getattr(type(owner), method, None)
        setattr(owner, method, getattr(owner, method) if made is None else made.__get__(owner))
        self._watched.append(_Watched(weakref.ref(owner), method, look))

    def tick(self, minute: int) -> int | None:
        """Begin to look, in *minute*; what was seen in those before the last is forgotten.

        Returns:
            The minute that has ended with that, if one has.
        """
        ended = None
        with self._lock:
            if minute != self._number:
                ended, self._number = self._number, minute
                self._minutes = (_Minute(), self._minutes[0])
            self._left = BURST
            if not self._restore:
                for watched in self._watched:
                    self._replace(watched)
        return ended

    def tags(self, ago: int, reads: int) -> dict[str, int]:
        """Return the tags that were read most in one minute.

        Args:
            ago: 0 the minute under way, 1 the one before.
            reads: that there were in it, seen or not.
        """
        with self._lock:
            minute = self._minutes[ago]
            seen, counts = minute.reads, Counter(minute.tags.counts())
        return _scaled(counts, max(reads, seen) / max(seen, 1))

    def top(self, reads: int) -> Top:
        """Return what was read most.

        Args:
            reads: that there were, seen or not, in this minute and the one before.
        """
        with self._lock:
            seen = sum(minute.reads for minute in self._minutes)
            keys, tags = (
                _sum(getattr(minute, kind).counts() for minute in self._minutes) for kind in ("keys", "tags")
            )
        share = max(reads, seen) / max(seen, 1)
        return Top(*(_scaled(each, share) for each in (keys, tags)))

    def _replace(self, watched: _Watched) -> None:
        owner = watched.owner()
        if owner is None:
            return
        plain = getattr(owner, watched.method)

        def looking(*given: Any) -> Any:
            result = plain(*given)
            self._see(watched.look(given, result))
            return result

        setattr(owner, watched.method, looking)
        self._restore.append(partial(setattr, owner, watched.method, plain))

    def _see(self, seen: Seen) -> None:
        with self._lock:
            minute = self._minutes[0]
            for key, tags in seen:
                minute.reads += 1
                self._left -= 1
                minute.keys.add(key)
                for tag in tags:
                    minute.tags.add(tag)
            if self._left <= 0:
                while self._restore:
                    self._restore.pop()()


def _scaled(counts: Counter[str], share: float) -> dict[str, int]:
    return {name: round(count * share) for name, count in counts.most_common(TOP)}


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total
