"""One round trip for all questions that wait in a process: who finds no trip under way leads the next.

He takes all that wait along. Whoever comes meanwhile waits for the next trip, which the one of them who may
wait longest leads: so nobody depends on somebody with less patience than his own. Each gets his own answer.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Generic, TypeVar

from cache_ext.errors import CircuitOpen, StoreUnavailable
from cache_ext.transport.budget import current_budget

QuestionT = TypeVar("QuestionT")
AnswerT = TypeVar("AnswerT")

STUCK = 5.0
"""Seconds after which a trip counts as lost with its leader: it is bounded by his budget, far less."""


class _State(Enum):
    WAITING = auto()
    TAKEN = auto()
    """Its question is on its way."""
    LEADS = auto()
    """He is to lead the next trip."""
    ANSWERED = auto()
    ABANDONED = auto()
    """Whoever led was killed before he had the answers, or had less time for them: ask again."""


class _Ticket(Generic[QuestionT, AnswerT]):
    """One who asks. Who waits holds `woken`, a lock, until somebody frees it: an event costs several times as
    much. `answer` or `failure` is set before.
    """

    __slots__ = ("answer", "deadline", "failure", "question", "state", "woken")

    def __init__(self, question: QuestionT, deadline: float) -> None:
        self.question = question
        self.deadline = deadline
        self.state = _State.WAITING
        self.woken: threading.Lock | None = None
        self.answer: AnswerT | None = None
        self.failure: StoreUnavailable | None = None

    def wake(self) -> None:
        """Let him go on who waits."""
        if self.woken is not None and self.woken.locked():
            self.woken.release()


class Trips(Generic[QuestionT, AnswerT]):
    """Gathers questions for *ask*.

    Args:
        ask: takes several questions in one round trip; returns their answers, or raises StoreUnavailable.
        patience: seconds that one waits outside of any budget.
        monotonic: the clock, seconds.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[QuestionT]], Sequence[AnswerT]],
        patience: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._patience = patience
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[QuestionT, AnswerT]] = []
        self._trip: object | None = None
        """The trip under way, or about to be led; None if there is none."""
        self._stuck_at = 0.0

    def ask(self, question: QuestionT) -> AnswerT:
        """Return the answer to *question*.

        Raises:
            StoreUnavailable: there is none in time.
        """
        while True:
            spending, now = current_budget(), self._monotonic()
            left = self._patience if spending is None else spending.left
            ticket: _Ticket[QuestionT, AnswerT] = _Ticket(question, now + left)
            leads = self._board(ticket, now)
            if not leads:
                try:
                    leads = self._wait(ticket, left)
                finally:
                    if spending is not None:
                        spending.spend(self._monotonic() - now)
            if leads:
                self._lead(ticket)
            if ticket.state is not _State.ABANDONED:
                break
        if ticket.failure is not None:
            raise ticket.failure
        return ticket.answer  # type: ignore[return-value]  # an answer may be anything, None as well

    def _board(self, ticket: _Ticket[QuestionT, AnswerT], now: float) -> bool:
        """Let *ticket* wait; return True if its holder leads, for no trip is under way."""
        with self._lock:
            self._waiting.append(ticket)
            if self._trip is not None and now < self._stuck_at:
                ticket.woken = threading.Lock()
                ticket.woken.acquire()
                return False
            self._begin(ticket, now)
            return True

    def _wait(self, ticket: _Ticket[QuestionT, AnswerT], left: float) -> bool:
        """Wait for the answer; return True if he is to lead a trip instead.

        Raises:
            StoreUnavailable: it took too long.
        """
        assert ticket.woken is not None  # noqa: S101 (for the type checker: who waits has one)
        resigned = True
        try:
            ticket.woken.acquire(timeout=max(0.0, left))
            resigned = self._monotonic() >= ticket.deadline
        finally:
            with self._lock:
                if ticket.state is _State.WAITING or (resigned and ticket.state is _State.LEADS):
                    self._waiting.remove(ticket)
                if resigned and ticket.state is _State.LEADS:
                    ticket.state = _State.WAITING
                    self._appoint()
        if ticket.state in (_State.WAITING, _State.TAKEN):
            raise StoreUnavailable("no answer in time, asked together with others")
        return ticket.state is _State.LEADS

    def _lead(self, leader: _Ticket[QuestionT, AnswerT]) -> None:
        """Ask for all who wait, and give each his answer."""
        with self._lock:
            crew, self._waiting = self._waiting, []
            for ticket in crew:
                ticket.state = _State.TAKEN
        try:
            answers = self._ask([ticket.question for ticket in crew])
            for ticket, answer in zip(crew, answers, strict=True):
                ticket.answer = answer
                ticket.state = _State.ANSWERED
        except StoreUnavailable as error:
            hopeless = math.inf if isinstance(error, CircuitOpen) else leader.deadline
            for ticket in crew:
                if ticket.deadline <= hopeless:
                    ticket.failure = error
                    ticket.state = _State.ANSWERED
        finally:
            self._land(leader, crew)

    def _land(self, leader: _Ticket[QuestionT, AnswerT], crew: Sequence[_Ticket[QuestionT, AnswerT]]) -> None:
        """Wake all of *crew*, and let the next trip begin."""
        with self._lock:
            if self._trip is leader:
                self._appoint()
        for ticket in crew:
            if ticket.state is _State.TAKEN:
                ticket.state = _State.ABANDONED
            ticket.wake()

    def _appoint(self) -> None:
        """Have one of those who wait lead the next trip; for who holds the lock."""
        if not self._waiting:
            self._trip = None
            return
        leader = max(self._waiting, key=lambda ticket: ticket.deadline)
        self._begin(leader, self._monotonic())
        leader.wake()

    def _begin(self, leader: _Ticket[QuestionT, AnswerT], now: float) -> None:
        leader.state = _State.LEADS
        self._trip = leader
        self._stuck_at = now + STUCK
