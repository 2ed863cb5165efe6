"""Timing several contestants in turn, round after round, so that whatever disturbs one disturbs all."""

from __future__ import annotations

import asyncio
import statistics
import threading
import timeit
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Contestant(Protocol):
    """Something to be timed. `note` says what must be known to compare it."""

    name: str
    note: str

    def seconds(self, calls: int) -> float:
        """Return the seconds that a call took, on average of *calls*."""


class Statement:
    """A statement, run in a loop without a call around it; the garbage collector stays on.

    Args:
        name, note: see `Contestant`.
        code: the statement.
        names: what stands for the names in it.
    """

    def __init__(self, name: str, code: str, note: str = "", **names: Any) -> None:
        self.name, self.note = name, note
        self._timer = timeit.Timer(code, "import gc; gc.enable()", globals=names)

    def seconds(self, calls: int) -> float:
        """See `Contestant`."""
        return self._timer.timeit(calls) / calls


class Awaited:
    """A coroutine function, awaited in a row in one event loop, whose own cost is part of it."""

    def __init__(
        self, name: str, loop: asyncio.AbstractEventLoop, call: Callable[[], Awaitable[Any]], note: str = ""
    ) -> None:
        self.name, self.note = name, ", ".join(filter(None, (note, "awaited")))
        self._loop = loop
        self._call = call

    def seconds(self, calls: int) -> float:
        """See `Contestant`."""
        return self._loop.run_until_complete(self._many(calls)) / calls

    async def _many(self, calls: int) -> float:
        call, started = self._call, timeit.default_timer()
        for _ in range(calls):
            await call()
        return timeit.default_timer() - started


class Crowd:
    """A statement that *count* threads run at once; the seconds are those of all calls of all threads."""

    def __init__(self, count: int, statement: Statement) -> None:
        self.name, self.note = statement.name, statement.note
        self._count = count
        self._statement = statement

    def seconds(self, calls: int) -> float:
        """See `Contestant`."""
        each = max(1, calls // self._count)
        gate = threading.Barrier(self._count + 1)

        def work() -> None:
            gate.wait()
            self._statement.seconds(each)

        crew = [threading.Thread(target=work) for _ in range(self._count)]
        for thread in crew:
            thread.start()
        gate.wait()
        started = timeit.default_timer()
        for thread in crew:
            thread.join()
        return (timeit.default_timer() - started) / (each * self._count)


@dataclass(frozen=True)
class Pace:
    """How long and how often is measured.

    Args:
        rounds: in which each contestant has one turn.
        turn: seconds of one turn, about.
    """

    rounds: int
    turn: float


@dataclass
class Times:
    """What a race took: by contestant, seconds a call in each round."""

    rounds: dict[str, list[float]]
    notes: Mapping[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Return the middle one of *name*'s rounds, seconds."""
        return statistics.median(self.rounds[name])

    def ratio(self, one: str, of: Callable[[Mapping[str, float]], float]) -> float:
        """Return how often *of* (of one round's times) goes into *one*'s time: the middle of all rounds."""
        names = self.rounds.keys()
        turns = [dict(zip(names, each, strict=True)) for each in zip(*self.rounds.values(), strict=True)]
        return statistics.median(turn[one] / of(turn) for turn in turns)


def race(contestants: Sequence[Contestant], pace: Pace) -> Times:
    """Time *contestants* in turn; each round begins with another one."""
    calls = {each.name: _calls(each, pace.turn) for each in contestants}
    rounds: dict[str, list[float]] = {each.name: [] for each in contestants}
    for number in range(pace.rounds):
        first = number % len(contestants)
        for each in (*contestants[first:], *contestants[:first]):
            rounds[each.name].append(each.seconds(calls[each.name]))
    return Times(rounds, {each.name: each.note for each in contestants})


def _calls(contestant: Contestant, turn: float) -> int:
    """Return how many calls fill *turn* seconds; finding out warms everything up."""
    calls = 1
    while (once := contestant.seconds(calls)) * calls < turn / 4:
        calls *= 4
    return max(1, round(turn / once))
