"""The shared store on Redis: plain reads, and one short script a bucket for everything that changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from cache_ext.coherence.messages import EVERYTHING, encode_names
from cache_ext.coherence.reasons import signed
from cache_ext.entry import Version, new_stamp
from cache_ext.errors import StoreUnavailable
from cache_ext.keys import BUCKETS, LAST_BUCKET, KeySpace
from cache_ext.stores.base import Snapshot, Started, Versions, Write
from cache_ext.stores.plans import Plans, by_bucket
from cache_ext.transport.commands import Command
from cache_ext.transport.connection import RedisGateway
from cache_ext.transport.greeting import Ask, Lies

LEASE_MS = 3_000
"""A lease outlives its holder by at most this; a living holder renews it (see `upkeep`)."""
_LEAST_VERSION_LIFE = 3_600.0
"""Seconds. Versions are cheap and losing one costs a miss, so they stay at least an hour."""
_TOO_ODD = (ValueError, TypeError, IndexError, KeyError)
"""What replies of an unexpected shape make the parsing below raise."""


class RedisStore:
    """Implements `stores.base.Store`. Every method is one round trip; changes are one command a bucket.

    Args:
        gateway: the way to Redis.
        keyspace: the namespace that is ours.
        grouped: read with one command a bucket too, as a cluster needs, even if the server does not say
            that it is part of one; it costs several times as much.
    """

    def __init__(self, gateway: RedisGateway, keyspace: KeySpace, *, grouped: bool = False) -> None:
        self._gateway = gateway
        self._keys = keyspace
        self.grouped = grouped
        """Whether reads too are one command a bucket, as on a cluster."""
        self._plans = Plans(keyspace)
        names = ("begin", "fill", "release", "renew", "delete", "invalidate", "replace_epoch")
        self._sha = {name: gateway.script(name) for name in names}
        gateway.on_new_server(keyspace.namespace, self._adopt)
        self.name = new_stamp().decode()
        """Signs what this process tells the others, so that it knows its own messages."""

    def read(
        self, keys: Collection[str], tags: Collection[str], clock: Callable[[], int] | None = None
    ) -> Snapshot:
        """See `Store.read`."""
        plan = self._plans.get(keys, tags, self.grouped or self._gateway.clustered)
        if clock is None or not plan.places:
            *found, time = self._gateway.run(plan.timed, "read")
            now = _milliseconds(time)
        else:
            found = self._gateway.run(plan.untimed, "read")
            now = clock()
        epochs, blobs, standings = plan.sorted(found)
        return Snapshot(Versions(now, epochs, standings), blobs)

    def begin(
        self, seen: Mapping[str, bytes | None], tags: Collection[str], token: bytes, life: float
    ) -> Started:
        """See `Store.begin`."""
        by_key, by_tag = by_bucket(seen), by_bucket(tags)
        plan = [(b, by_key.get(b, []), by_tag.get(b, [])) for b in by_key.keys() | by_tag.keys()]
        life_ms = math.ceil(1000 * max(life, _LEAST_VERSION_LIFE))
        commands = [self._begin(b, keys, mine, seen, token, life_ms) for b, keys, mine in plan]
        replies = self._gateway.run(commands, "begin")
        try:
            return _started(plan, replies)
        except _TOO_ODD as error:
            raise StoreUnavailable(f"an odd reply: {error!r}") from error

    def _begin(
        self,
        bucket: int,
        keys: list[str],
        tags: list[str],
        seen: Mapping[str, bytes | None],
        token: bytes,
        life_ms: int,
    ) -> Command:
        space = self._keys
        names = [space.epoch(bucket), space.sequence(bucket), *map(space.version, tags)]
        for key in keys:
            names += [space.lease(key), space.value(key)]
        known = ["*" if seen[key] is None else seen[key] or b"" for key in keys]
        arguments = [new_stamp(), space.channels[bucket], len(tags), life_ms, token, LEASE_MS, *known]
        return self._script("begin", names, arguments)

    def fill(self, writes: Sequence[Write], token: bytes) -> frozenset[str]:
        """See `Store.fill`."""
        by_key = {write.key: write for write in writes}
        commands: list[Command] = []
        order: list[list[str]] = []
        for bucket, keys in by_bucket(by_key).items():
            places: list[str] = []
            parts: list[str | bytes | int] = []
            for key in keys:
                places += [self._keys.lease(key), self._keys.value(key)]
                parts += [by_key[key].life_ms, by_key[key].blob]
            head: list[str | bytes | int] = [self._keys.channels[bucket], token, encode_names(keys)]
            commands.append(self._script("fill", places, [*head, *parts]))
            order.append(keys)
        replies = self._gateway.run(commands, "fill")
        return frozenset(
            key
            for keys, reply in zip(order, replies, strict=True)
            for key, kept in zip(keys, reply, strict=True)
            if kept
        )

    def release(self, keys: Collection[str], token: bytes) -> None:
        """See `Store.release`."""
        commands = [
            self._script(
                "release",
                map(self._keys.lease, mine),
                [self._keys.channels[bucket], token, encode_names(mine)],
            )
            for bucket, mine in by_bucket(keys).items()
        ]
        self._gateway.run(commands, "release")

    def renew(self, keys: Collection[str], token: bytes) -> None:
        """See `Store.renew`."""
        groups = by_bucket(keys).values()
        self._gateway.run(
            [self._script("renew", map(self._keys.lease, mine), [token, LEASE_MS]) for mine in groups]
        )

    def delete(self, keys: Collection[str]) -> int:
        """See `Store.delete`."""
        commands = []
        for bucket, mine in by_bucket(keys).items():
            places = [self._keys.epoch(bucket), self._keys.sequence(bucket)]
            for key in mine:
                places += [self._keys.lease(key), self._keys.value(key)]
            names = encode_names(mine, signed(self.name))
            arguments = (new_stamp(), self._keys.channels[bucket], names)
            commands.append(self._script("delete", places, arguments))
        return sum(self._gateway.run(commands, "delete"))

    def invalidate(self, tags: Collection[str], soft: bool = False) -> Mapping[str, Version]:
        """See `Store.invalidate`."""
        commands = []
        groups = by_bucket(tags)
        for bucket, mine in groups.items():
            places = [self._keys.epoch(bucket), self._keys.sequence(bucket), *map(self._keys.version, mine)]
            names = encode_names(mine, signed(self.name))
            arguments = (new_stamp(), self._keys.channels[bucket], names, int(soft))
            commands.append(self._script("invalidate", places, arguments))
        replies = self._gateway.run(commands, "invalidate")
        return {
            tag: Version(epoch, counter)
            for mine, (epoch, counter) in zip(groups.values(), replies, strict=True)
            for tag in mine
        }

    def clear(self) -> Mapping[int, bytes]:
        """See `Store.clear`."""
        fresh = {bucket: new_stamp() for bucket in range(BUCKETS)}
        self._gateway.run(
            self._replace_epochs(fresh, "", encode_names(EVERYTHING, signed(self.name))), "clear"
        )
        return fresh

    def positions(self) -> Mapping[int, Version]:
        """See `Store.positions`."""
        space = self._keys
        places = [("MGET", space.epoch(bucket), space.sequence(bucket)) for bucket in range(BUCKETS)]
        replies = self._gateway.run(places, "read")
        return {
            bucket: Version(epoch, int(sequence))
            for bucket, (epoch, sequence) in enumerate(replies)
            if epoch is not None and sequence is not None and sequence.isdigit()
        }

    def _adopt(self, run_id: str, ask: Ask, lies_here: Lies) -> None:
        """Replace the epochs that were made on another run of the server than *run_id*."""
        fresh = {b: new_stamp() for b in range(BUCKETS) if lies_here(self._keys.epoch(b))}
        if not fresh:
            return
        ask([("SCRIPT", "LOAD", self._gateway.script_text(self._sha["replace_epoch"]))])
        names = encode_names(EVERYTHING) if len(fresh) == BUCKETS else b""
        ask(self._replace_epochs(fresh, run_id, names))

    def _replace_epochs(self, fresh: Mapping[int, bytes], run_id: str, names: bytes) -> list[Command]:
        space = self._keys
        return [
            self._script(
                "replace_epoch",
                [space.epoch(bucket), space.sequence(bucket), space.run(bucket)],
                [stamp, space.channels[bucket], run_id, names if bucket == LAST_BUCKET else b""],
            )
            for bucket, stamp in fresh.items()
        ]

    def _script(self, name: str, keys: Iterable[str], arguments: Iterable[str | bytes | int]) -> Command:
        places = list(keys)
        return ("EVALSHA", self._sha[name], len(places), *places, *arguments)


def _started(plan: Sequence[tuple[int, list[str], list[str]]], replies: Sequence[Any]) -> Started:
    epochs: dict[int, bytes] = {}
    standings: dict[str, bytes | None] = {}
    granted: set[str] = set()
    busy: dict[str, float] = {}
    changed: dict[str, bytes] = {}
    now = 0
    for (bucket, keys, tags), (epoch, time, found, outcomes) in zip(plan, replies, strict=True):
        now = min(now or _milliseconds(time), _milliseconds(time))  # servers' clocks may differ
        epochs[bucket] = epoch
        standings.update(zip(tags, found, strict=True))
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, bytes):
                changed[key] = outcome
            elif outcome == 1:
                granted.add(key)
            else:
                busy[key] = min(-outcome, LEASE_MS) / 1000  # more is left only after the clock was set back
    return Started(Versions(now, epochs, standings), frozenset(granted), busy, changed)


def _milliseconds(time: Sequence[bytes]) -> int:
    """Return the reply to TIME, seconds and microseconds, as Unix ms."""
    return int(time[0]) * 1000 + int(time[1]) // 1000
