"""What a read asks Redis, and whose the replies are; worked out once for what is asked again and again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from cache_ext.errors import StoreUnavailable
from cache_ext.keys import KeySpace, bucket_of
from cache_ext.transport.commands import Command, Prepared

_State = tuple[tuple[Sequence[Any], Sequence[Any]], Mapping[int, bytes], Mapping[str, bytes | None]]
"""The replies for epochs and versions, and these by bucket and tag."""
_KINDS = frozenset({bytes, type(None)})
_REMEMBERED_NAMES = 20_000
"""Names in all the plans that are kept."""


def by_bucket(names: Iterable[str]) -> dict[int, list[str]]:
    """Return *names* by their buckets."""
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for name in names:
        groups[bucket_of(name)].append(name)
    return groups


class Plan:
    """A read of *keys*, the versions of *tags* and the epochs of all their buckets; timed with the clock.

    Args:
        grouped: one command for each bucket instead of one for all: a cluster refuses anything else.
    """

    __slots__ = ("_buckets", "_keys", "_reorder", "_state", "places", "tags", "timed", "untimed")

    def __init__(self, space: KeySpace, keys: Collection[str], tags: Collection[str], grouped: bool) -> None:
        self._keys = tuple(keys)
        self.tags = tuple(tags)
        self._buckets = tuple(dict.fromkeys(map(bucket_of, (*keys, *tags))))
        places = [
            *map(space.epoch, self._buckets),
            *map(space.value, self._keys),
            *map(space.version, self.tags),
        ]
        commands: list[Command] = [("MGET", *places)] if places else []
        self._reorder = None
        if grouped:
            owners = [*self._buckets, *map(bucket_of, (*self._keys, *self.tags))]
            groups: dict[int, list[int]] = {bucket: [] for bucket in self._buckets}
            for at, bucket in enumerate(owners):
                groups[bucket].append(at)
            commands = [("MGET", *[places[at] for at in mine]) for mine in groups.values()]
            sent = list(chain.from_iterable(groups.values()))
            self._reorder = sorted(range(len(sent)), key=sent.__getitem__)
        self.places = len(places)
        self._state: _State | None = None
        self.timed = Prepared([*commands, ("TIME",)])
        self.untimed = Prepared(commands)

    def sorted(
        self, replies: Sequence[Sequence[Any]]
    ) -> tuple[Mapping[int, bytes], dict[str, bytes], Mapping[str, bytes | None]]:
        """Return the epochs by bucket and what lies at the keys, as far as there is any; versions by tag.

        As long as nothing changes, epochs and versions are the very objects that they were before.

        Raises:
            StoreUnavailable: what came is no answer.
        """
        found: Sequence[Any] = replies[0] if len(replies) == 1 else list(chain.from_iterable(replies))
        if len(found) != self.places:
            raise _odd(f"{len(found)} values for {self.places} keys")
        if self._reorder is not None:
            found = [found[at] for at in self._reorder]
        first, last = len(self._buckets), len(self._buckets) + len(self._keys)
        came, blobs = (found[:first], found[last:]), found[first:last]
        if not _KINDS.issuperset(map(type, blobs)):
            raise _odd("no bytes")
        state = self._state
        if state is None or state[0] != came:
            if not _KINDS.issuperset(map(type, chain(*came))):
                raise _odd("no bytes")
            epochs = {b: epoch for b, epoch in zip(self._buckets, came[0], strict=True) if epoch is not None}
            self._state = state = came, epochs, dict(zip(self.tags, came[1], strict=True))
        stored = {key: blob for key, blob in zip(self._keys, blobs, strict=True) if blob is not None}
        return state[1], stored, state[2]


def _odd(what: str) -> StoreUnavailable:
    return StoreUnavailable(f"an odd reply: {what}")


class Plans:
    """Remembers plans: a page, or a watch list, asks for the same names each time."""

    def __init__(self, space: KeySpace) -> None:
        self._space = space
        self._known: dict[tuple[tuple[str, ...], frozenset[str], bool], Plan] = {}
        self._names = 0

    def get(self, keys: Collection[str], tags: Collection[str], grouped: bool) -> Plan:
        """Return the plan for just these."""
        what = (tuple(keys), frozenset(tags), grouped)
        plan = self._known.get(what)
        if plan is None:
            plan = Plan(self._space, keys, tags, grouped)
            self._names += len(what[0]) + len(what[1])
            if self._names > _REMEMBERED_NAMES:
                self._known.clear()
                self._names = len(what[0]) + len(what[1])
            self._known[what] = plan
        return plan
