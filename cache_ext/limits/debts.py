"""What a host admitted without Redis and has to tell it of: counted there, before anything is asked there."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from mmap import mmap

from cache_ext.limits.counting import Debt
from cache_ext.limits.decision import SLICES
from cache_ext.limits.lines import FREE, Line, touched

TELLING = 1.0
"""Seconds after which one who tells Redis counts as killed, at least."""
LET_TELL = 0.02
"""Seconds that others wait for him; then they go on as if Redis were away, as it may be, since he hangs."""
RETRY = 0.001
NOTHING, ANYTHING, TOLD = 0, 1, 2
"""What is owed. `TOLD`: nothing that is not being told."""
_STATE, _UNTIL = struct.Struct("<I"), struct.Struct("<d")


class Debts:
    """The debts in a host's table of shares.

    Args:
        table: that all processes of the host have mapped.
        at: where it says what is owed, and until when somebody may be telling Redis of it, seconds.
        places: where its lines begin.
        mark: returns a subject's mark and where its lines may begin.
        locked: holds the table.
        monotonic: the clock that the processes share, seconds.
        budget: seconds within which telling is over, done or not.
    """

    def __init__(
        self,
        table: mmap,
        at: int,
        places: Sequence[int],
        mark: Callable[[str], tuple[bytes, tuple[int, ...]]],
        locked: Callable[[], AbstractContextManager[None]],
        monotonic: Callable[[], float],
        budget: float,
    ) -> None:
        self._telling = max(TELLING, 2 * budget)
        self._table, self._at, self._until_at = table, at, at + _STATE.size
        self._places = places
        self._mark = mark
        self._locked = locked
        self._monotonic = monotonic

    @property
    def any(self) -> bool:
        """Whether Redis has to be told of anything that was admitted without it."""
        return self._table[self._at] != NOTHING

    def begin(self) -> None:
        """Note that something is owed; for who holds the table."""
        _STATE.pack_into(self._table, self._at, ANYTHING)

    def settle(self, place: str, most: int, tell: Callable[[Sequence[Debt]], None]) -> bool:
        """Have Redis told what was admitted without it, if anything was; return whether it may be asked now.

        It does not count right before it was told, so whoever else wants to ask it waits a moment, or goes on
        without it. The table is free meanwhile: a Redis that hangs holds up nobody but who tells it.

        Args:
            place: of the subject that must be told of; of others it may be some.
            most: of them.
            tell: raises StoreUnavailable if it could not be done; then it has still to be.
        """
        deadline = self._monotonic() + LET_TELL
        while not (turn := self._take_turn()):
            if not self.any:
                return True
            if self._monotonic() >= deadline:
                return False
            time.sleep(RETRY)
        try:
            with self._locked():
                lines, complete = self._owing(place, most)
                now = self._monotonic()
                _STATE.pack_into(self._table, self._at, TOLD if complete else ANYTHING)
            debts = [_debt(line, int(now * 1000)) for line in lines]
            tell([debt for debt in debts if debt.admitted])
            with self._locked():
                for line, debt in zip(lines, debts, strict=True):
                    self._settle(line, debt, now)
                if self._table[self._at] == TOLD:
                    _STATE.pack_into(self._table, self._at, NOTHING)
        finally:
            if self._turn() == turn:
                _UNTIL.pack_into(self._table, self._until_at, 0.0)
        return True

    def _take_turn(self) -> float:
        """Return until when nobody but the caller tells; 0 if somebody does, or there is nothing to tell."""
        with self._locked():
            now = self._monotonic()
            if not self.any or now < self._turn() <= now + self._telling:
                return 0.0
            _UNTIL.pack_into(self._table, self._until_at, now + self._telling)
            return now + self._telling

    def _turn(self) -> float:
        until: float = _UNTIL.unpack_from(self._table, self._until_at)[0]
        return until

    def _settle(self, told: Line, debt: Debt, now: float) -> None:
        """Let the line that was *told* of owe only what came meanwhile."""
        line = Line(self._table, told.at)
        if line.mark == told.mark:
            line.settle(now, sum(units for _, units in debt.admitted), told.window.items)
            line.write()

    def _owing(self, place: str, most: int) -> tuple[list[Line], bool]:
        """Return lines that owe anything, and whether these are all; what is damaged is freed."""
        first = self._mark(place)[1]
        owing: list[Line] = []
        for at in (*first, *self._places):
            if not touched(self._table, at)[0] or any(line.at == at for line in owing[: len(first)]):
                continue
            line = Line(self._table, at)
            if line.mark != self._mark(line.place)[0]:
                line.begin(FREE, "", 0, 0)
                line.write()
                continue
            if len(owing) >= most:
                return owing, False
            owing.append(line)
        return owing, True


def _debt(line: Line, now: int) -> Debt:
    """Return what *line* owes, as late as it may have been."""
    width = max(1, line.width)
    horizon = (SLICES + 1) * width
    ages = [(max(0, now - (number + 1) * width), units) for number, units in line.window.items]
    return Debt(line.place, line.bucket, width, tuple(pair for pair in ages if pair[0] <= horizon))
