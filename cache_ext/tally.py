"""Counting without a lock; Prometheus is told now and then, not at each of a million hits a second."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any

from cache_ext import metrics


class _Cell:
    """One number. `add` is atomic: it is a single call into C."""

    __slots__ = ("_counter", "_looks", "_told", "add")

    def __init__(self, counter: Any) -> None:
        self.add: Callable[[], int] = count().__next__
        self._counter = counter
        self._looks = 0
        self._told = 0

    def look(self) -> int:
        """Return what was added in all."""
        added = self.add() - self._looks  # looking adds one as well
        self._looks += 1
        return added

    def tell(self) -> None:
        """Bring what was added since the last time to the counter."""
        if (added := self.look()) > self._told:
            self._counter.inc(added - self._told)
            self._told = added


class Tally:
    """What one part of this process counts, by the values of labels.

    A child after a fork begins at nothing: what its parent has not told yet the parent tells.

    Args:
        counter: is told now and then; None if nobody is.
    """

    def __init__(self, counter: metrics.Tallied | None = None) -> None:
        self._counter = counter
        self._begin()
        if counter is not None:
            counter.tallies.add(self)
        myself = weakref.ref(self)

        def after_fork() -> None:
            if tally := myself():
                tally._begin()

        os.register_at_fork(after_in_child=after_fork)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[tuple[str, ...], _Cell] = {}

    def count(self, *labels: str) -> None:
        """Count one."""
        (self._cells.get(labels) or self._cell(labels)).add()

    def counting(self, *labels: str) -> Callable[[], int]:
        """Return what counts one each time it is called; for those who have many."""
        return (self._cells.get(labels) or self._cell(labels)).add

    def tell(self) -> None:
        """Bring all to Prometheus."""
        with self._lock:
            for cell in self._cells.values():
                cell.tell()

    def totals(self) -> dict[tuple[str, ...], int]:
        """Return what was counted in all."""
        with self._lock:
            return {labels: cell.look() for labels, cell in self._cells.items()}

    def _cell(self, labels: tuple[str, ...]) -> _Cell:
        with self._lock:
            cell = self._cells.get(labels)
            if cell is None:
                told = None if self._counter is None else self._counter.labels(*labels)
                cell = self._cells[labels] = _Cell(told)
            return cell


class Reads(Tally):
    """The reads of one cache in this process, by policy name, layer and outcome; see `metrics.requests`."""

    def __init__(self) -> None:
        super().__init__(metrics.requests)

    def _begin(self) -> None:
        super()._begin()
        self._hits: dict[str, Callable[[], int]] = {}

    def hit(self, cache: str) -> None:
        """Count a hit in L1."""
        try:
            self._hits[cache]()
        except KeyError:
            self._hits[cache] = add = self.counting(cache, "l1", "hit")
            add()
