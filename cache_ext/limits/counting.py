"""Counting in Redis: one script call for all checks together, on a cluster one a bucket; one round trip."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from cache_ext.errors import StoreUnavailable
from cache_ext.limits.decision import Answer, Check
from cache_ext.transport.commands import Command, Prepared
from cache_ext.transport.connection import RedisGateway

_TERMS = struct.Struct("<IIII")
"""What a check asks of the script: limit, ms of a slice, cost, and how many ask as much."""
ANSWER = struct.Struct("<QIQq")
"""What the script answers: the fields of `Answer`."""
_TOO_ODD = (struct.error, ValueError, TypeError)
"""What replies of an unexpected shape make the parsing below raise."""
_KNOWN_CHECKS = 16_384
"""Checks that are remembered in the protocol's words: asked alone, they are the same each time."""


class Debt(NamedTuple):
    """Units that were admitted without asking.

    Args:
        place, bucket, width_ms: as of `Check`.
        admitted: pairs of milliseconds since, and units.
    """

    place: str
    bucket: int
    width_ms: int
    admitted: tuple[tuple[int, int], ...]


class Counts:
    """What is counted in Redis.

    Args:
        gateway: the way to it.
        clock: tells Unix ms, to count by instead of the server's clock.
    """

    def __init__(self, gateway: RedisGateway, clock: Callable[[], int] | None = None) -> None:
        self._gateway = gateway
        self._clock = clock
        self._admit = gateway.script("admit")
        self._merge = gateway.script("merge")
        self._alone = lru_cache(_KNOWN_CHECKS)(lambda check: Prepared([self._admitting({check: 1})]))

    def require(self) -> None:
        """Return if Redis may be asked.

        Raises:
            CircuitOpen: it may not.
        """
        self._gateway.breaker.check()

    def ask(self, checks: Sequence[Check]) -> list[Answer]:
        """Return the answers to *checks*, in their order.

        Raises:
            StoreUnavailable: there is no usable answer.
        """
        if len(checks) == 1 and self._clock is None:
            (reply,) = self._gateway.run(self._alone(checks[0]), "limit")
            return _answers(reply, 1)
        orders, commands = [], []
        for numbers in _grouped(checks, self._gateway.clustered):
            orders.append(list(chain.from_iterable(numbers.values())))
            commands.append(self._admitting({check: len(mine) for check, mine in numbers.items()}))
        found: dict[int, Answer] = {}
        for order, reply in zip(orders, self._gateway.run(commands, "limit"), strict=True):
            found.update(zip(order, _answers(reply, len(order)), strict=True))
        return [found[number] for number in range(len(checks))]

    def merge(self, debts: Sequence[Debt]) -> None:
        """Count what was admitted without asking.

        Raises:
            StoreUnavailable: it may not have been.
        """
        by_bucket: dict[int, list[Debt]] = {}
        for debt in debts:
            by_bucket.setdefault(debt.bucket, []).append(debt)
        commands = []
        for mine in by_bucket.values():
            arguments: list[int] = []
            for debt in mine:
                arguments += [debt.width_ms, len(debt.admitted), *chain.from_iterable(debt.admitted)]
            commands.append(self._command(self._merge, [debt.place for debt in mine], *arguments))
        if commands:
            self._gateway.run(commands, "limit")

    def forget(self, place: str) -> None:
        """Start anew at *place*."""
        self._gateway.run([("DEL", place)], "limit")

    def _admitting(self, times: Mapping[Check, int]) -> Command:
        """Return the command that asks what is to be asked, as many times as *times* says."""
        terms = [_TERMS.pack(each.limit, each.width_ms, each.cost, often) for each, often in times.items()]
        return self._command(self._admit, [each.place for each in times], b"".join(terms))

    def _command(self, script: str, places: Sequence[str], *arguments: int | bytes) -> Command:
        now = "" if self._clock is None else self._clock()
        return ("EVALSHA", script, len(places), *places, now, *arguments)


def _grouped(checks: Sequence[Check], clustered: bool) -> Collection[dict[Check, list[int]]]:
    """Return the numbers of *checks* by what is asked, in groups that one script call may take.

    Args:
        clustered: the keys of a call must lie in one bucket.
    """
    groups: dict[int, dict[Check, list[int]]] = {}
    for number, check in enumerate(checks):
        group = groups.setdefault(check.bucket if clustered else 0, {})
        group.setdefault(check, []).append(number)
    return groups.values()


def _answers(reply: Any, count: int) -> list[Answer]:
    try:
        answers = [*map(Answer._make, ANSWER.iter_unpack(reply))]
        if len(answers) != count:
            raise ValueError(f"{len(answers)} answers for {count} checks")
    except _TOO_ODD as error:
        raise StoreUnavailable(f"an odd reply: {error!r}") from error
    return answers
