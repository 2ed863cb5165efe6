"""Counting reads without a lock; Prometheus is told now and then, not at each of a million hits a second."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

from cache_ext import metrics


class _Cell:
    """One number. `add` is atomic: it is a single call into C."""

    __slots__ = ("_looks", "_told", "_total", "add")

    def __init__(self, counter: Any) -> None:
        self.add: Callable[[], int] = count().__next__
        self._total = counter
        self._looks = 0
        self._told = 0

    def tell(self) -> None:
        """Bring what was added since the last time to the counter."""
        added = self.add() - self._looks  # looking adds one as well
        self._looks += 1
        if added > self._told:
            self._total.inc(added - self._told)
            self._told = added


class Tally:
    """The reads of one cache in this process, by policy name, layer and outcome; see `metrics.requests`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[tuple[str, str, str], _Cell] = {}
        self._hits: dict[str, Callable[[], int]] = {}
        metrics.requests.tallies.add(self)

    def count(self, cache: str, layer: str, outcome: str) -> None:
        """Count a read."""
        (self._cells.get((cache, layer, outcome)) or self._cell(cache, layer, outcome)).add()

    def counting(self, cache: str, layer: str, outcome: str) -> Callable[[], int]:
        """Return what counts one read each time it is called; for those who have many."""
        return (self._cells.get((cache, layer, outcome)) or self._cell(cache, layer, outcome)).add

    def hit(self, cache: str) -> None:
        """Count a hit in L1."""
        (self._hits.get(cache) or self._cell(cache, "l1", "hit").add)()

    def tell(self) -> None:
        """Bring all to Prometheus."""
        with self._lock:
            for cell in self._cells.values():
                cell.tell()

    def _cell(self, cache: str, layer: str, outcome: str) -> _Cell:
        with self._lock:
            which = (cache, layer, outcome)
            cell = self._cells.get(which)
            if cell is None:
                cell = self._cells[which] = _Cell(metrics.requests.labels(*which))
                if (layer, outcome) == ("l1", "hit"):
                    self._hits[cache] = cell.add
            return cell
