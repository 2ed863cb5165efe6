"""The purges that a fleet owes its CDN, kept in Redis until the CDN has confirmed them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection
from typing import Any

from cache_ext.cdn.ledger import GRAIN
from cache_ext.cdn.names import is_name
from cache_ext.entry import new_stamp
from cache_ext.errors import StoreUnavailable
from cache_ext.keys import KeySpace
from cache_ext.transport.connection import RedisGateway

BUCKET = 0
MAX_DEBTS = 100_000
"""In Redis, some 10 MB. While there are more, what comes is owed as one: everything."""
PATIENCE = 5.0
"""Seconds after it is due that a purge is left to who owes it; then anybody does it."""
LEASE = 15.0
"""Seconds that who took another's debt has to pay it."""
AT_ONCE = 256
"""Debts in one command that takes."""
IN_ONE = 500
"""Names in one command that owes; Redis does nothing else meanwhile."""
KEPT = 86_400.0
"""Seconds for which Redis keeps debts of a namespace that nobody uses any more."""
_NAME = 12


class Debts:
    """What this process owes, or took over from another, by the names that are to be purged.

    Each is a member ``name due:who`` of one sorted set, its score when it is overdue, by the clock of Redis.

    Args:
        gateway: the way to Redis.
        keyspace: the namespace.
        everything: the name that stands for all.
        again_after: seconds from the first purge to the second.
        forget_after: seconds overdue after which a debt is taken for the last time.
        monotonic: the clock of this process, seconds.
    """

    def __init__(
        self,
        gateway: RedisGateway,
        keyspace: KeySpace,
        everything: str,
        again_after: float,
        forget_after: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._gateway = gateway
        self._place = keyspace.place(BUCKET, "purges")
        self._everything = everything
        self._again_after = again_after
        self._forget_after = forget_after
        self._monotonic = monotonic
        self._sha = {name: gateway.script(name) for name in ("owe", "overdue")}
        self._who = new_stamp().decode()
        self._lock = threading.Lock()
        self._mine: dict[str, dict[str, float]] = {}
        """By name, from when on, by our clock, a purge pays each debt."""

    def owe(self, names: Collection[str]) -> Collection[str]:
        """Note that *names* were invalidated just now; return what is owed, which may be everything instead.

        Raises:
            StoreUnavailable: nobody but this process may know.
        """
        now, listed = self._monotonic(), sorted(names)
        parts = [listed[at : at + IN_ONE] for at in range(0, len(listed), IN_ONE)]
        times = map(_milliseconds, (PATIENCE, GRAIN, KEPT))
        head: list[str | int] = [MAX_DEBTS, self._everything, *times, self._who]
        head.append(_milliseconds(self._again_after))
        replies = self._gateway.run_aside(
            [("EVALSHA", self._sha["owe"], 1, self._place, *head, *part) for part in parts]
        )
        owed: set[str] = set()
        try:
            for part, (first, second, full) in zip(parts, replies, strict=True):
                mine = [self._everything] if full else part
                owed.update(mine)
                for name in mine:
                    self._note(f"{name}{first}:{self._who}", now)
                    self._note(f"{name}{second}:{self._who}", now + self._again_after)
        except (TypeError, ValueError) as error:
            raise StoreUnavailable(f"an odd reply: {error!r}") from error
        return owed

    def overdue(self) -> set[str]:
        """Take what others should have done, and return the names.

        Raises:
            StoreUnavailable: no usable answer.
        """
        farthest = self._again_after + GRAIN + PATIENCE + LEASE
        times = map(_milliseconds, (LEASE, farthest, self._forget_after))
        (found,) = self._gateway.run_aside(
            [("EVALSHA", self._sha["overdue"], 1, self._place, AT_ONCE, *times)]
        )
        if not isinstance(found, list):
            raise StoreUnavailable(f"an odd reply: {found!r}")
        now = self._monotonic()
        taken = [debt for debt in map(_text, found) if is_name(debt[:_NAME])]
        self._forget(now - self._forget_after)
        for debt in taken:
            self._note(debt, now)
        return {debt[:_NAME] for debt in taken}

    def paid(self, names: Collection[str], since: float) -> None:
        """Have forgotten what is paid by a purge of *names* that was begun at *since* and was confirmed.

        Raises:
            StoreUnavailable: it will be done once more.
        """
        done: list[str] = []
        with self._lock:
            for name in list(self._mine) if self._everything in names else names:
                mine = self._mine.get(name, {})
                paid = [debt for debt, earliest in mine.items() if earliest <= since]
                for debt in paid:
                    del mine[debt]
                if not mine:
                    self._mine.pop(name, None)
                done += paid
        if done:
            self._gateway.run_aside([("ZREM", self._place, *done)])

    def _note(self, debt: str, earliest: float) -> None:
        with self._lock:
            mine = self._mine.setdefault(debt[:_NAME], {})
            mine[debt] = max(earliest, mine.get(debt, earliest))

    def _forget(self, before: float) -> None:
        """Forget what nobody could pay: Redis knows of it, and gives it to whoever asks."""
        with self._lock:
            for name, mine in list(self._mine.items()):
                left = {debt: earliest for debt, earliest in mine.items() if earliest >= before}
                if left:
                    self._mine[name] = left
                else:
                    del self._mine[name]


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _text(debt: Any) -> str:
    return debt.decode(errors="replace") if isinstance(debt, bytes) else ""
