"""One round trip for all questions that wait in a process: who finds no trip under way leads the next.

He takes all that wait along. Whoever comes meanwhile waits for the next trip, which the one of them who may
wait longest leads: so nobody depends on somebody with less patience than his own. Each gets his own answer.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Generic, TypeVar

from cache_ext.errors import CircuitOpen, StoreUnavailable
from cache_ext.transport.budget import current_budget
from cache_ext.transport.greenlets import Sleeper, give_way, has_greenlets, sleepers

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
    """One who asks, woken when `answer` or `failure` is there, or to lead."""

    __slots__ = ("answer", "deadline", "failure", "holder", "question", "state")

    def __init__(self, question: QuestionT, deadline: float, holder: Sleeper) -> None:
        self.question = question
        self.deadline = deadline
        self.holder = holder
        self.state = _State.WAITING
        self.answer: AnswerT | None = None
        self.failure: StoreUnavailable | None = None


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
        self._begin_anew()
        myself = weakref.ref(self)

        def after_fork() -> None:  # who waits here waits in the parent
            if trips := myself():
                trips._begin_anew()

        os.register_at_fork(after_in_child=after_fork)

    def _begin_anew(self) -> None:
        self._greenlets = has_greenlets()
        self._sleeper = sleepers()
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
        if self._trip is None and not self._greenlets:
            with self._lock:
                free = self._trip is None
                if free:
                    trip = self._begin(object(), self._monotonic())
            if free:
                return self._go_alone(question, trip)
        return self._go_together(question)

    def _go_alone(self, question: QuestionT, trip: object) -> AnswerT:
        """Ask for oneself: nobody waits."""
        try:
            (answer,) = self._ask((question,))
        finally:
            self._let_next_begin(trip)
        return answer

    def _go_together(self, question: QuestionT) -> AnswerT:
        """Ask together with others, in the next trip or in a later one."""
        while True:
            spending, now = current_budget(), self._monotonic()
            left = self._patience if spending is None else spending.left
            ticket: _Ticket[QuestionT, AnswerT] = _Ticket(question, now + left, self._sleeper())
            self._board(ticket, now)
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

    def _board(self, ticket: _Ticket[QuestionT, AnswerT], now: float) -> None:
        """Let *ticket* wait; its holder leads if no trip is under way."""
        with self._lock:
            self._waiting.append(ticket)
            if self._trip is None or now >= self._stuck_at:
                ticket.state = _State.LEADS
                self._begin(ticket, now)

    def _wait(self, ticket: _Ticket[QuestionT, AnswerT], left: float) -> bool:
        """Wait for the answer; return True if he is to lead a trip instead.

        Among greenlets who is to lead at once lets the others come along first: none of them runs, and asks,
        before he waits for something, and the answer may be there so soon that he never does.

        Raises:
            StoreUnavailable: it took too long.
        """
        resigned, woken = True, True
        try:
            if ticket.state is not _State.LEADS:
                woken = ticket.holder.sleep(max(0.0, left))
            elif self._greenlets:
                give_way()
            resigned = not woken or self._monotonic() >= ticket.deadline
        finally:
            if resigned:
                self._resign(ticket)
        if ticket.state in (_State.WAITING, _State.TAKEN):
            raise StoreUnavailable("no answer in time, asked together with others")
        return ticket.state is _State.LEADS

    def _resign(self, ticket: _Ticket[QuestionT, AnswerT]) -> None:
        """Let *ticket* wait no longer; if it was to lead, another does."""
        with self._lock:
            led = ticket.state is _State.LEADS
            if led or ticket.state is _State.WAITING:
                self._waiting.remove(ticket)
                ticket.state = _State.WAITING
            if led:
                self._appoint()

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
        """Let the next trip begin, and wake all of *crew*."""
        self._let_next_begin(leader)
        for ticket in crew:
            if ticket.state is _State.TAKEN:
                ticket.state = _State.ABANDONED
            ticket.holder.wake()

    def _let_next_begin(self, trip: object) -> None:
        """Let those who wait begin the next trip, now that *trip* is over."""
        with self._lock:
            if self._trip is trip:
                self._appoint()

    def _appoint(self) -> None:
        """Have one of those who wait lead the next trip; for who holds the lock."""
        if not self._waiting:
            self._trip = None
            return
        leader = max(self._waiting, key=lambda ticket: ticket.deadline)
        leader.state = _State.LEADS
        self._begin(leader, self._monotonic())
        leader.holder.wake()

    def _begin(self, trip: object, now: float) -> object:
        """Have *trip* be the one under way, and return it; for who holds the lock."""
        self._trip = trip
        self._stuck_at = now + STUCK
        return trip
