"""Open-loop load over HTTP from a process of its own: requests leave on schedule, whatever becomes of others.

Each request is due at its moment; if no connection is free then, one more is opened, so a server that stands
still is not asked less for it. Waiting counts from when a request was due. Every answer is kept as it came.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, Protocol, Self

from benchmarks.open_lines import OpenLines, Reply

CONNECTIONS = 64
"""Opened before the first request is due."""
GIVE_UP = 120.0
"""Seconds for the load's process to begin, and to hand over what it has."""


class Course(Protocol):
    """What is asked, in order. It is sent to another process, so it is made of plain data."""

    def requests(self) -> Iterator[tuple[int, bytes]]:
        """Yield for each request the number of what it asks for, which means something to the course alone,
        and its bytes, without end."""


class OpenLoad:
    """Load on the server at *port* from when `begin` is called; ends with `end`, or after *seconds*.

    Args:
        course: what is asked.
        rate: requests a second.
        seconds: for how long at most.
        connections: that are opened at the start.
    """

    def __init__(
        self, port: int, course: Course, rate: float, seconds: float, connections: int = CONNECTIONS
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        plan = _Plan(port, course, rate, seconds, connections)
        self._process = context.Process(target=_run, args=(plan, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._await("ready")
        self.began = 0.0

    def __enter__(self) -> Self:
        """Have the first request leave now."""
        self._pipe.send("go")
        self.began = self._await("began")
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        if kind is not None:
            self._process.kill()
        self._process.join()

    def end(self) -> list[Reply]:
        """Have no more requests leave, wait for the answers under way, and return all."""
        self._pipe.send("end")
        return self.replies()

    def replies(self) -> list[Reply]:
        """Return all replies once *seconds* have passed."""
        found: list[Reply] = self._await("replies", patience=None)
        self._process.join()
        return found

    def _await(self, what: str, patience: float | None = GIVE_UP) -> Any:
        if not self._pipe.poll(patience):
            raise TimeoutError(f"the load's process is not {what}")
        return self._pipe.recv()


@dataclass(frozen=True)
class _Plan:
    port: int
    course: Course
    rate: float
    seconds: float
    connections: int


def _run(plan: _Plan, pipe: Connection) -> None:
    """Be the load's process."""
    lines = OpenLines(plan.port, plan.connections)
    pipe.send("ready")
    pipe.recv()
    began = time.monotonic()
    pipe.send(began)
    requests = islice(plan.course.requests(), round(plan.seconds * plan.rate))
    lines.ask(requests, began, 1 / plan.rate, pipe.poll)
    pipe.send(lines.replies)
