"""An origin that counts how often it is asked, and is slow or fails when told to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable

LONGEST_HOLD = 10.0
"""Seconds that a held call waits for its release, so that a failing test ends."""


class CountingOrigin:
    """Answers loaders and counts them; can hold calls, or let them fail, for one key or all. Thread-safe.

    Args:
        make_value: makes the answer from the key and the number of the call for this key, from 1;
            by default ``"key#1"``, so that each load can be told apart.
    """

    def __init__(self, make_value: Callable[[str, int], object] = "{}#{}".format) -> None:
        self._make_value = make_value
        self._changed = threading.Condition()
        self._calls: Counter[str] = Counter()
        self._held: set[str | None] = set()
        self._failures: dict[str | None, BaseException] = {}

    def __call__(self, key: str) -> object:
        """Answer one question: count it, wait while held, then raise or return the value.

        Raises:
            TimeoutError: it was held for 10 s.
        """
        with self._changed:
            self._calls[key] += 1
            number = self._calls[key]
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._held.isdisjoint((key, None)), LONGEST_HOLD):
                raise TimeoutError(f"the origin was held for {LONGEST_HOLD} s")
            failure = self._failures.get(key) or self._failures.get(None)
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
        with self._changed:
            return self._calls[key]

    @property
    def total(self) -> int:
        """How many calls there were for all keys."""
        with self._changed:
            return self._calls.total()

    def hold(self, key: str | None = None) -> None:
        """Let calls for *key* (None: for any) that arrive from now on wait until `release`."""
        with self._changed:
            self._held.add(key)

    def release(self, key: str | None = None) -> None:
        """Let waiting calls go on: those for *key*, if it was held by itself; None: all."""
        with self._changed:
            if key is None:
                self._held.clear()
            self._held.discard(key)
            self._changed.notify_all()

    def wait_for_call(self, key: str, number: int = 1, timeout: float = 5.0) -> None:
        """Return when *key* has been asked for *number* times in all.

        Raises:
            TimeoutError: it was not within *timeout* seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._calls[key] >= number, timeout):
                raise TimeoutError(f"{self._calls[key]} calls for {key!r} in {timeout} s, not {number}")

    def fail_with(self, failure: BaseException, key: str | None = None) -> None:
        """Let every call for *key* (None: for any) from now on, held ones included, raise *failure*."""
        with self._changed:
            self._failures[key] = failure

    def recover(self, key: str | None = None) -> None:
        """Let calls for *key* succeed again, if they failed by themselves; None: all."""
        with self._changed:
            if key is None:
                self._failures.clear()
            self._failures.pop(key, None)
