"""Counting in Redis: one script call for all checks of a bucket, one round trip for all of them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from cache_ext.errors import StoreUnavailable
from cache_ext.limits.decision import Answer, Check
from cache_ext.transport.commands import Command
from cache_ext.transport.connection import RedisGateway

FIGURES = 3
"""Numbers that the script returns for each check."""
_TOO_ODD = (ValueError, TypeError, IndexError)
"""What replies of an unexpected shape make the parsing below raise."""


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

    def require(self) -> None:
        """Return if Redis may be asked.

        Raises:
            CircuitOpen: it may not.
        """
        self._gateway.breaker.check()

    def ask(self, checks: Sequence[Check]) -> list[Answer]:
        """Return the answers to *checks*, in their order, which is also that in which they are counted.

        Raises:
            StoreUnavailable: there is no usable answer.
        """
        if len(checks) == 1:
            (check,) = checks
            command = self._command(self._admit, [check.place], check.limit, check.width_ms, 1, check.cost)
            return _answers(self._gateway.run((command,), "limit")[0], 1)
        orders, commands = [], []
        for numbers in _grouped(checks).values():
            order = list(chain.from_iterable(numbers.values()))
            orders.append(order)
            arguments: list[int] = []
            for (_, limit, width), mine in numbers.items():
                arguments += [limit, width, len(mine), *(checks[number].cost for number in mine)]
            commands.append(self._command(self._admit, [place for place, _, _ in numbers], *arguments))
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

    def _command(self, script: str, places: Sequence[str], *arguments: int) -> Command:
        return (
            "EVALSHA",
            script,
            len(places),
            *places,
            "" if self._clock is None else self._clock(),
            *arguments,
        )


def _grouped(checks: Sequence[Check]) -> dict[int, dict[tuple[str, int, int], list[int]]]:
    """Return the numbers of *checks* by bucket, and there by what is counted against what."""
    groups: dict[int, dict[tuple[str, int, int], list[int]]] = {}
    for number, (place, bucket, limit, _, width) in enumerate(checks):
        groups.setdefault(bucket, {}).setdefault((place, limit, width), []).append(number)
    return groups


def _answers(reply: Any, count: int) -> list[Answer]:
    try:
        now, *figures = reply
        if len(figures) != count * FIGURES or {*map(type, reply)} != {int}:
            raise ValueError(f"{len(figures)} figures for {count} checks")
        return [Answer(now, *figures[at : at + FIGURES]) for at in range(0, len(figures), FIGURES)]
    except _TOO_ODD as error:
        raise StoreUnavailable(f"an odd reply: {error!r}") from error
