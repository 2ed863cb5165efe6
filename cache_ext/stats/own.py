"""What this process knows of its cache, and telling it to Redis once a second for those who ask about all."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace

from cache_ext.entry import new_stamp
from cache_ext.keys import KeySpace
from cache_ext.stats.counts import HOT, READS, Counts, Field
from cache_ext.stats.members import Member, encode
from cache_ext.stats.minutes import MINUTE, Minutes, Packet
from cache_ext.stats.sampling import Sampler
from cache_ext.transport.commands import Command
from cache_ext.transport.connection import RedisGateway

BUCKET = 0
"""Where all that is told lies."""
KEPT_MS = 70 * 60_000
"""A minute's counts are kept for the hour that is looked back on, and some more."""
PRESENT_MS = 10_000
"""A process that has not said anything for so long has ended."""


def minute_place(space: KeySpace, minute: int) -> str:
    """Return where the counts of *minute*, since 1970, lie."""
    return space.place(BUCKET, f"stats:{minute}")


def member_places(space: KeySpace) -> tuple[str, str]:
    """Return where lies what processes say of themselves, and when they said it last."""
    return space.place(BUCKET, "stats:members"), space.place(BUCKET, "stats:seen")


class OwnStats:
    """What one cache in this process counts, by minutes.

    Args:
        gateway: the way to where it is told; None: nobody is told.
        space: the names of the keys.
        counts: of this process.
        describe: returns this process as it is now.
        sampler: knows what is read most in it.
        monotonic, wall: clocks, seconds; *wall* serves until Redis was heard, whose minutes count.
    """

    def __init__(
        self,
        gateway: RedisGateway | None,
        space: KeySpace,
        counts: Counts,
        describe: Callable[[], Member],
        sampler: Sampler,
        monotonic: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._gateway = gateway
        self._space = space
        self._counts = counts
        self._describe = describe
        self._sampler = sampler
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._minutes = Minutes()
        self._ahead = wall() - monotonic()
        self.heard = False
        """Whether this process has told of itself: it runs the cache."""
        self.refused = False
        """Whether Redis takes nothing: it is full, or a replica."""
        self._name = new_stamp().decode()
        if gateway is not None:
            self._count, self._present = gateway.script("count"), gateway.script("present")

    @property
    def tells(self) -> bool:
        """Whether others are told."""
        return self._gateway is not None

    def tick(self) -> None:
        """Note what was counted, and tell it. Raises StoreUnavailable: it will be told later."""
        with self._lock:
            if self._gateway is None:
                self._note()
                return
            if not self.heard:
                self._hear(self._gateway.run_aside([self._presence()]))
            self._note()
            commands = [self._presence(), *map(self._told, self._minutes.packets())]
            presence, *counted = self._gateway.run_aside(commands)
            self._hear([presence])
            self.refused = 0 in counted
            if not self.refused:
                self._minutes.arrived()

    def leave(self) -> None:
        """Tell what is left to tell, and that this process ends. Raises StoreUnavailable."""
        if self._gateway is not None:
            with self._lock:
                self._note_hot(self._minute(), 0)
            self.tick()
            with self._lock:
                self._gateway.run_aside([self._presence(b"")])

    def describe(self) -> Member:
        """Return this process as it is now."""
        with self._lock:
            return self._myself()

    def history(self) -> tuple[int, dict[int, dict[Field, int]]]:
        """Return this minute, and what was counted here in each until now."""
        with self._lock:
            self._note()
            return self._minute(), {minute: dict(counts) for minute, counts in self._minutes.mine.items()}

    def _note(self) -> None:
        self._minutes.note(self._counts.totals(), self._minute())
        ended = self._sampler.tick(self._minute())
        if ended is not None:
            self._note_hot(ended, 1)

    def _note_hot(self, minute: int, ago: int) -> None:
        """Count what was read most in *minute*, so that it is known when this process is gone."""
        tags = self._sampler.tags(ago, self._reads(minute))
        self._minutes.add(minute, {(HOT, tag): reads for tag, reads in tags.items() if reads})

    def _reads(self, minute: int) -> int:
        counts = self._minutes.mine.get(minute, Counter[Field]())
        return sum(count for field, count in counts.items() if field[0] == READS)

    def _myself(self) -> Member:
        top = self._sampler.top(self._reads(self._minute()) + self._reads(self._minute() - 1))
        return replace(self._describe(), top_keys=top.keys, top_tags=top.tags)

    def _minute(self) -> int:
        return int((self._monotonic() + self._ahead) // MINUTE)

    def _hear(self, replies: Iterable[object]) -> None:
        """Learn the time from the reply to what this process said of itself."""
        now = next(iter(replies))
        if isinstance(now, int):
            self._ahead, self.heard = now / 1000 - self._monotonic(), True

    def _presence(self, told: bytes | None = None) -> Command:
        told = encode(self._myself()) if told is None else told
        return ("EVALSHA", self._present, 2, *member_places(self._space), self._name, told, PRESENT_MS)

    def _told(self, packet: Packet) -> Command:
        parts: list[str | bytes | int] = []
        for field, count in packet.counts.items():
            parts += [msgspec.json.encode(field), count]
        place = minute_place(self._space, packet.minute)
        return ("EVALSHA", self._count, 1, place, f"#{self._name}", packet.number, KEPT_MS, *parts)
