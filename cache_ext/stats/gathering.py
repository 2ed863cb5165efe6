"""What all processes told of the last hour, read from Redis in bites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from cache_ext.errors import StoreUnavailable
from cache_ext.keys import KeySpace
from cache_ext.stats.counts import Field
from cache_ext.stats.members import Member, decode
from cache_ext.stats.minutes import HOUR, MINUTE
from cache_ext.stats.own import PRESENT_MS, OwnStats, member_places, minute_place
from cache_ext.transport.budget import budget
from cache_ext.transport.commands import Command
from cache_ext.transport.connection import RedisGateway

WINDOWS = (1, 5, HOUR)
"""Minutes that are looked back on; the one under way comes on top."""
PATIENCE = 1.0
"""Seconds for each round trip; it is administrative, but somebody waits for it."""
BITE = 6
"""Minutes that one round trip reads: some thousands of numbers, a millisecond of the server's time."""
PAGE = 1_000
MOST_FIELDS = 20_000
"""Fields of a hash that one HSCAN steps over, and that are read of one: all that a program counts is less."""
MOST_PROCESSES = 1_000
_field = msgspec.json.Decoder(Field).decode

Window = Mapping[Field, int]


class Gathered(NamedTuple):
    """What is known of the last hour.

    Args:
        windows: all that was counted, by minutes looked back on; see `WINDOWS`.
        minutes: what was counted in each, oldest first; the last is the one under way.
        members: the processes that run now.
        at: when that was, Unix seconds.
    """

    windows: Mapping[int, Window]
    members: tuple[Member, ...]
    at: float
    minutes: tuple[Window, ...] = ()


def gather(gateway: RedisGateway, space: KeySpace) -> Gathered:
    """Return what the processes told. Raises StoreUnavailable."""
    now_ms, members = members_of(gateway, space)
    minute = now_ms // 1000 // int(MINUTE)
    told = tuple(_told(gateway, space, minute))
    return Gathered(_windows(told), members, now_ms / 1000, told[::-1])


def members_of(gateway: RedisGateway, space: KeySpace) -> tuple[int, tuple[Member, ...]]:
    """Return the time, Unix ms, and the processes that run now. Raises StoreUnavailable."""
    told, seen = member_places(space)
    most = ("ZREVRANGE", seen, 0, MOST_PROCESSES - 1, "WITHSCORES")
    replies = ask(gateway, [("TIME",), most])
    try:
        now_ms = int(replies[0][0]) * 1000 + int(replies[0][1]) // 1000
        return now_ms, _present(_hashes(gateway, [told])[0], dict(replies[1]), now_ms)
    except (TypeError, ValueError, IndexError) as error:
        raise StoreUnavailable(f"an odd reply: {error!r}") from error


def of_this_process(own: OwnStats, at: float) -> Gathered:
    """Return what this process alone knows.

    Args:
        at: now, Unix seconds.
    """
    minute, history = own.history()
    known = tuple(history.get(minute - ago, {}) for ago in range(HOUR + 1))
    return Gathered(_windows(known), (own.describe(),), at, known[::-1])


def ask(gateway: RedisGateway, commands: Sequence[Command]) -> list[Any]:
    """Return the replies to *commands*, in one round trip that no request's budget bounds."""
    with budget(PATIENCE, administrative=True):
        return gateway.run(commands)


def _present(told: Mapping[bytes, bytes], seen: Mapping[bytes, float], now_ms: int) -> tuple[Member, ...]:
    """Return the processes that said something lately."""
    recent = [name for name, at in seen.items() if abs(now_ms - at) < PRESENT_MS]
    known = [decode(told[name]) for name in sorted(recent) if name in told]
    return tuple(member for member in known if member is not None)


def _told(gateway: RedisGateway, space: KeySpace, minute: int) -> Iterator[dict[Field, int]]:
    """Return the counts of each minute, from this one back."""
    for first in range(0, HOUR + 1, BITE):
        minutes = range(minute - first, minute - min(first + BITE, HOUR + 1), -1)
        for found in _hashes(gateway, [minute_place(space, each) for each in minutes]):
            yield dict(_counts(found))


def _hashes(gateway: RedisGateway, places: Sequence[str]) -> list[dict[bytes, bytes]]:
    """Return the hashes at *places*, of each as much as there may sensibly be."""
    found: list[dict[bytes, bytes]] = [{} for _ in places]
    left = dict.fromkeys(range(len(places)), b"0")
    while left:
        replies = ask(gateway, [("HSCAN", places[at], cursor, "COUNT", PAGE) for at, cursor in left.items()])
        for at, reply in zip(tuple(left), replies, strict=True):
            try:
                left[at], parts = reply
                found[at].update(zip(parts[::2], parts[1::2], strict=True))
            except (TypeError, ValueError) as error:
                raise StoreUnavailable(f"an odd reply: {error!r}") from error
            if left[at] in (b"0", "0") or len(found[at]) > MOST_FIELDS:
                del left[at]
    return found


def _counts(reply: Mapping[bytes, bytes]) -> Iterator[tuple[Field, int]]:
    """Return what is a count; numbers of packets and what others may have put there are none."""
    for field, count in reply.items():
        if field.startswith(b"[") and count.isdigit():
            try:
                yield _field(field), int(count)
            except (msgspec.DecodeError, ValueError):  # int refuses what has thousands of digits
                continue


def _windows(minutes: Iterable[Mapping[Field, int]]) -> dict[int, Window]:
    """Add up *minutes*, from this one back."""
    sums: Counter[Field] = Counter()
    windows: dict[int, Window] = {}
    for ago, counts in enumerate(minutes):
        sums.update(counts)
        if ago in WINDOWS:
            windows[ago] = dict(sums)
    return windows
