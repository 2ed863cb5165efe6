"""One round trip for all checks that wait: who leads, who gets what, and what if the leader fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from cache_ext.errors import StoreUnavailable
from cache_ext.transport.budget import budget
from cache_ext.transport.greenlets import sleepers
from cache_ext.transport.trips import Trips
from tests.caches import PATIENCE, begin, stop_before
from tests.waiting import until


class Killed(BaseException):
    """As `gevent` ends a greenlet."""


class Ferry:
    """Answers questions by their tenfold; each trip waits until it is let go, or fails as told."""

    def __init__(self) -> None:
        self.trips: list[list[int]] = []
        self.go = threading.Semaphore(0)
        self.failures: list[BaseException | None] = []

    def ask(self, questions: Sequence[int]) -> list[int]:
        """Take a trip."""
        self.trips.append(list(questions))
        assert self.go.acquire(timeout=PATIENCE)
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        return [10 * question for question in questions]


@pytest.fixture
def ferry() -> Ferry:
    """A ferry that waits."""
    return Ferry()


@pytest.fixture
def trips(ferry: Ferry) -> Trips[int, int]:
    """Trips of the ferry, with patience."""
    return Trips(ferry.ask, PATIENCE)


def aboard(trips: Trips[int, int], ferry: Ferry, *questions: int) -> list[Future[int]]:
    """Ask the first of *questions*, and while its trip is under way the others; return what comes of them."""
    futures = [begin(lambda: trips.ask(questions[0]))]
    until(lambda: len(ferry.trips) == 1, "the first trip is under way")
    for number, question in enumerate(questions[1:], 1):
        futures.append(begin(lambda question=question: trips.ask(question)))
        until(lambda number=number: len(trips._waiting) == number, "it waits")
    return futures


def test_all_that_wait_go_together(trips: Trips[int, int], ferry: Ferry) -> None:
    """Ten questions that come during a trip are one trip more, and each gets its own answer."""
    futures = aboard(trips, ferry, *range(11))
    ferry.go.release(2)
    assert [future.result(PATIENCE) for future in futures] == [10 * number for number in range(11)]
    assert ferry.trips == [[0], list(range(1, 11))]


def test_who_finds_no_trip_under_way_goes_at_once(trips: Trips[int, int], ferry: Ferry) -> None:
    """Nobody waits for company."""
    ferry.go.release(3)
    assert [trips.ask(number) for number in (1, 2, 3)] == [10, 20, 30]
    assert ferry.trips == [[1], [2], [3]]


def test_a_killed_leader_strands_nobody(ferry: Ferry, trips: Trips[int, int]) -> None:
    """Those whom he took along ask again, and get their answers."""
    futures = aboard(trips, ferry, 1, 2, 3)
    ferry.failures = [None, Killed(), None]
    ferry.go.release(4)
    outcomes = [_outcome(future) for future in futures]
    assert outcomes[0] == 10
    assert sorted(outcomes[1:], key=str) == sorted([Killed, _ten(outcomes)], key=str)


def _outcome(future: Future[int]) -> object:
    try:
        return future.result(PATIENCE)
    except BaseException as error:  # noqa: BLE001 (Killed is none that could be expected)
        return type(error)


def _ten(outcomes: Sequence[object]) -> object:
    (answer,) = [each for each in outcomes[1:] if each is not Killed]
    assert answer in (20, 30)
    return answer


def test_a_failed_trip_fails_all_who_had_no_more_time(trips: Trips[int, int], ferry: Ferry) -> None:
    """Redis is away for all alike; the next trip is another matter."""
    futures = aboard(trips, ferry, 1, 2, 3)
    ferry.failures = [None, StoreUnavailable("away")]
    ferry.go.release(9)
    assert [_outcome(future) for future in futures] == [10, StoreUnavailable, StoreUnavailable]
    assert trips.ask(4) == 40


def test_a_leader_with_less_time_does_not_decide_for_others(trips: Trips[int, int], ferry: Ferry) -> None:
    """Who came along with more time left asks again when the leader's ran out."""

    def hurried() -> int:
        with budget(5.0):
            return trips.ask(1)

    (before,) = aboard(trips, ferry, 0)
    first = begin(hurried)
    until(lambda: len(trips._waiting) == 1, "he waits")
    stop = stop_before(trips, "_lead")
    ferry.go.release(1)
    stop.wait()
    patient = begin(lambda: trips.ask(2))
    until(lambda: len(trips._waiting) == 2, "the other comes along")
    ferry.failures = [StoreUnavailable("no time left")]
    stop.go()
    ferry.go.release(2)
    assert before.result(PATIENCE) == 0
    assert _outcome(first) is StoreUnavailable
    assert patient.result(PATIENCE) == 20
    assert ferry.trips == [[0], [1, 2], [2]]


@pytest.mark.parametrize("failure", [Killed(), StoreUnavailable("away")])
def test_who_goes_alone_and_fails_strands_nobody(
    trips: Trips[int, int], ferry: Ferry, failure: BaseException
) -> None:
    """His failure is his own: those who came meanwhile make the next trip."""
    ferry.failures = [failure]
    futures = aboard(trips, ferry, 1, 2, 3)
    ferry.go.release(2)
    assert [_outcome(future) for future in futures] == [type(failure), 20, 30]
    assert ferry.trips == [[1], [2, 3]]


def test_the_most_patient_leads(trips: Trips[int, int], ferry: Ferry) -> None:
    """Of those who wait he leads who can wait longest, so that his time bounds nobody else's."""
    futures = aboard(trips, ferry, 1)

    def ask(seconds: float, question: int) -> int:
        with budget(seconds):
            return trips.ask(question)

    for number, seconds in enumerate((5.0, 50.0, 6.0), 2):
        futures.append(begin(lambda seconds=seconds, number=number: ask(seconds, number)))
        until(lambda number=number: len(trips._waiting) == number - 1, "it waits")
    ferry.go.release(1)
    until(lambda: len(ferry.trips) == 2, "the second trip is under way")
    assert trips._trip.question == 3
    ferry.go.release(1)
    assert [future.result(PATIENCE) for future in futures] == [10, 20, 30, 40]


def test_nobody_waits_longer_than_he_may(trips: Trips[int, int], ferry: Ferry) -> None:
    """Who has a tenth of a second gives up after it, has spent it, and is not asked for later."""
    (first,) = aboard(trips, ferry, 1)
    began = time.monotonic()
    with budget(0.1) as spending, pytest.raises(StoreUnavailable):
        trips.ask(2)
    assert 0.1 <= time.monotonic() - began < 1.0
    assert spending.left <= 0
    ferry.go.release(2)
    assert first.result(PATIENCE) == 10
    assert trips.ask(3) == 30
    assert ferry.trips == [[1], [3]]


def test_a_trip_that_never_ends_is_not_waited_for_for_ever(ferry: Ferry) -> None:
    """A leader who vanished without a trace does not stop those who come later."""
    clock = [0.0]
    trips = Trips(ferry.ask, PATIENCE, lambda: clock[0])
    first = begin(lambda: trips.ask(1))
    until(lambda: len(ferry.trips) == 1, "he is under way")
    clock[0] = 6.0
    second = begin(lambda: trips.ask(2))
    until(lambda: len(ferry.trips) == 2, "another does not wait for him")
    ferry.go.release(2)
    assert [first.result(PATIENCE), second.result(PATIENCE)] == [10, 20]


def test_a_trip_that_ends_after_all_begins_no_other(ferry: Ferry) -> None:
    """Who was taken for lost does not have others go beside the trip that is under way by then."""
    clock, docks = [0.0], {number: threading.Semaphore(0) for number in (1, 2, 3)}

    def ask(questions: Sequence[int]) -> list[int]:
        assert docks[questions[0]].acquire(timeout=PATIENCE)
        return ferry.ask(questions)

    trips = Trips(ask, PATIENCE, lambda: clock[0])
    ferry.go.release(3)
    first = begin(lambda: trips.ask(1))
    until(lambda: trips._trip is not None, "he is under way")
    lost, clock[0] = trips._trip, 6.0
    second = begin(lambda: trips.ask(2))
    until(lambda: trips._trip is not lost, "another does not wait for him")
    third, under_way = begin(lambda: trips.ask(3)), trips._trip
    until(lambda: len(trips._waiting) == 1, "it waits")
    docks[1].release()
    assert first.result(PATIENCE) == 10
    assert trips._trip is under_way
    docks[2].release()
    docks[3].release()
    assert [second.result(PATIENCE), third.result(PATIENCE)] == [20, 30]


def test_who_is_taken_along_before_he_waits_waits_for_his_answer(
    trips: Trips[int, int], ferry: Ferry
) -> None:
    """Between boarding and waiting another leader may have taken him."""
    (first,) = aboard(trips, ferry, 1)
    stop = stop_before(trips, "_wait")
    slow = begin(lambda: trips.ask(2))
    stop.wait()
    leader = begin(lambda: trips.ask(3))
    until(lambda: len(trips._waiting) == 2, "both have boarded")
    ferry.go.release(1)
    until(lambda: len(ferry.trips) == 2, "their trip is under way")
    stop.go()
    ferry.go.release(1)
    assert [future.result(PATIENCE) for future in (first, slow, leader)] == [10, 20, 30]
    assert ferry.trips == [[1], [2, 3]]


def test_an_appointed_leader_who_is_killed_passes_it_on(trips: Trips[int, int], ferry: Ferry) -> None:
    """Killed between being told to lead and leading: the next of those who wait leads."""
    futures = aboard(trips, ferry, 1, 2)

    class Deadly:
        """A sleeper who is killed as soon as he is woken."""

        def __init__(self) -> None:
            self._sleeper = sleepers()()
            self.wake = self._sleeper.wake

        def sleep(self, seconds: float) -> bool:
            assert self._sleeper.sleep(seconds)
            raise Killed

    victim = begin(lambda: _killed_while_waiting(trips, Deadly()))
    until(lambda: len(trips._waiting) == 2, "he waits")
    ferry.go.release(2)
    assert _outcome(victim) is Killed
    assert [future.result(PATIENCE) for future in futures] == [10, 20]
    assert ferry.trips == [[1], [2]]


def _killed_while_waiting(trips: Trips[int, int], sleeper: Any) -> None:
    board = trips._board

    def boarding(ticket, now):
        ticket.holder = sleeper
        ticket.deadline += 100  # he is the one to lead
        board(ticket, now)

    trips._board = boarding
    try:
        trips.ask(3)
    finally:
        trips._board = board


def test_who_is_appointed_when_his_time_is_over_passes_it_on(ferry: Ferry) -> None:
    """He gets no answer, as if nobody had asked him to lead, and the next comes at once."""
    clock = [0.0]
    trips = Trips(ferry.ask, PATIENCE, lambda: clock[0])
    futures = aboard(trips, ferry, 1, 2)
    clock[0] = PATIENCE + 1.0
    ferry.go.release(2)
    assert [_outcome(future) for future in futures] == [10, StoreUnavailable]
    assert trips.ask(3) == 30
    assert ferry.trips == [[1], [3]]
