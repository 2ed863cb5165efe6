"""Questions to an origin at once, a bounded number of them: many take little longer than one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

AT_ONCE = 8
"""An exchange that gives a slot each second has them all answered within the deadline of each."""


def at_once(questions: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Return what each of *questions* returns, or raises.

    After the first that fails no more are begun, and what failed stands in their places: who does not
    answer one is not asked fifty times. All but the caller's own run outside of his budget for Redis.
    """
    asking = _Asking(questions)
    threads = [
        threading.Thread(target=asking.run, name="shivx-question", daemon=True)
        for _ in range(min(AT_ONCE, len(questions)) - 1)
    ]
    for thread in threads:
        thread.start()
    try:
        asking.run()
    finally:
        asking.stop()
        for thread in threads:
            thread.join()
    return asking.answers()


class _Asking(Generic[T]):
    def __init__(self, questions: Sequence[Callable[[], T]]) -> None:
        self._questions = questions
        self._left = iter(range(len(questions)))
        self._found: dict[int, T | Exception] = {}
        self._failure: Exception | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Ask what is left, one after the other."""
        while (number := self._next()) is not None:
            try:
                self._found[number] = self._questions[number]()
            except Exception as error:  # noqa: BLE001 (handed to who asked)
                self._found[number] = self._failure = error
                self.stop()

    def stop(self) -> None:
        """Begin no more."""
        self._stopped = True

    def answers(self) -> list[T | Exception]:
        """Return what came of each question."""
        return [self._answer(number) for number in range(len(self._questions))]

    def _answer(self, number: int) -> T | Exception:
        if number in self._found:
            return self._found[number]
        if self._failure is None:
            raise AssertionError("without a failure all are asked")
        return self._failure

    def _next(self) -> int | None:
        with self._lock:
            return None if self._stopped else next(self._left, None)
