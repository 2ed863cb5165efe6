"""The fake clock and the counting origin do what tests rely on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes import CountingOrigin, FakeClock


def test_clock_moves_only_when_told(clock: FakeClock) -> None:
    """Both clocks advance by the same seconds."""
    monotonic, unix = clock.monotonic(), clock.time()
    clock.advance(1.5)
    assert (clock.monotonic() - monotonic, clock.time() - unix) == (1.5, 1.5)


def test_wall_clock_may_jump_back(clock: FakeClock) -> None:
    """A step changes the wall clock alone; the monotonic one never runs back."""
    monotonic, unix = clock.monotonic(), clock.time()
    clock.step_wall_clock(-900)
    assert (clock.monotonic() - monotonic, clock.time() - unix) == (0, -900)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_origin_counts_calls_by_key(origin: CountingOrigin) -> None:
    """Every call counts for its key, those of a batch included."""
    assert [origin("a"), origin.loader("a")()] == ["a#1", "a#2"]
    assert origin.load_many(["a", "b"]) == {"a": "a#3", "b": "b#1"}
    assert (origin.calls("a"), origin.calls("b"), origin.total) == (3, 1, 4)


def test_held_origin_answers_when_released(origin: CountingOrigin) -> None:
    """A held call is counted when it arrives and answers only after the release."""
    origin.hold()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(origin, "a")
        origin.wait_for_call("a")
        assert not answer.done()
        origin.release()
        assert answer.result() == "a#1"


def test_failing_origin_recovers(origin: CountingOrigin) -> None:
    """Failures count as calls and end with recover."""
    origin.fail_with(LookupError("down"))
    with pytest.raises(LookupError, match="down"):
        origin("a")
    origin.recover()
    assert origin("a") == "a#2"
