"""The only fakes in the tests: the clock and the origin."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable

NOON = 1_700_000_000.0  # Unix time that a fake clock starts at; any would do
ORIGIN_SECONDS = 10.0  # how long a held call waits for its release, so that a failing test ends


class FakeClock:
    """A clock that moves only when told to. Pass `monotonic` and `time` where code takes a clock.

    Args:
        monotonic: seconds that the monotonic clock shows first.
        unix: seconds that the wall clock shows first.
    """

    def __init__(self, monotonic: float = 1000.0, unix: float = NOON) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._unix = unix

    def monotonic(self) -> float:
        """Return the monotonic time in seconds."""
        with self._lock:
            return self._monotonic

    def time(self) -> float:
        """Return the Unix time in seconds."""
        with self._lock:
            return self._unix

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass on both clocks; never negative."""
        if seconds < 0:
            raise ValueError("time does not run backwards; see step_wall_clock")
        with self._lock:
            self._monotonic += seconds
            self._unix += seconds

    def sleep(self, seconds: float) -> None:
        """Sleep, as `time.sleep` does, but return at once with both clocks advanced."""
        self.advance(seconds)

    def step_wall_clock(self, seconds: float) -> None:
        """Set the wall clock forward, or back if negative, as NTP or an operator does."""
        with self._lock:
            self._unix += seconds


class CountingOrigin:
    """An origin that counts its calls, and can hold them or fail. Thread-safe.

    Args:
        make_value: makes the answer from the key and the number of the call for this key, from 1;
            by default ``"key#1"``, so that each load can be told apart.
    """

    def __init__(self, make_value: Callable[[str, int], object] = "{}#{}".format) -> None:
        self._make_value = make_value
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._arrived = threading.Condition(self._lock)
        self._calls: Counter[str] = Counter()
        self._failure: BaseException | None = None

    def __call__(self, key: str) -> object:
        """Answer one question: count it, wait while held, then raise or return the value."""
        with self._lock:
            self._calls[key] += 1
            number = self._calls[key]
            self._arrived.notify_all()
        if not self._open.wait(ORIGIN_SECONDS):
            raise TimeoutError(f"the origin was held for {ORIGIN_SECONDS} s")
        with self._lock:
            failure = self._failure
        if failure is not None:
            raise failure
        return self._make_value(key, number)

    def loader(self, key: str) -> Callable[[], object]:
        """Return a loader without arguments for *key*."""
        return lambda: self(key)

    def load_many(self, keys: Iterable[str]) -> dict[str, object]:
        """Answer a batch; each key counts as one call."""
        return {key: self(key) for key in keys}

    def calls(self, key: str) -> int:
        """Return how often *key* was asked for, calls under way included."""
        with self._lock:
            return self._calls[key]

    @property
    def total(self) -> int:
        """How many calls there were for all keys."""
        with self._lock:
            return self._calls.total()

    def hold(self) -> None:
        """Let calls that arrive from now on wait until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Let all waiting calls go on."""
        self._open.set()

    def wait_for_call(self, key: str, number: int = 1, timeout: float = 5.0) -> None:
        """Return when *key* has been asked for *number* times in all.

        Raises:
            TimeoutError: it was not within *timeout* seconds.
        """
        with self._lock:
            if not self._arrived.wait_for(lambda: self._calls[key] >= number, timeout):
                raise TimeoutError(f"{self._calls[key]} calls for {key!r} in {timeout} s, not {number}")

    def fail_with(self, failure: BaseException) -> None:
        """Let every call from now on, held ones included, raise *failure*."""
        with self._lock:
            self._failure = failure

    def recover(self) -> None:
        """Let calls succeed again."""
        with self._lock:
            self._failure = None
