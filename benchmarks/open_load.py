"""Open-loop load over HTTP from a process of its own: requests leave on schedule, whatever becomes of others.

Each request is due at its moment; if no connection is free then, one more is opened, so a server that stands
still is not asked less for it. Waiting counts from when a request was due. Every answer is kept as it came.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol, Self

PATIENCE = 10.0
"""Seconds after which a request without an answer has failed."""
CONNECTIONS = 64
"""Opened before the first request is due."""
GIVE_UP = 120.0
"""Seconds for the load's process to begin, and to hand over what it has."""
_CHUNK = 1 << 18
_END = b"\r\n\r\n"
_LENGTH = b"\r\nContent-Length: "
_BODILESS = frozenset({304})


class Course(Protocol):
    """What is asked, in order. It is sent to another process, so it is made of plain data."""

    def requests(self) -> Iterator[tuple[int, bytes]]:
        """Yield for each request the number of what it asks for, which means something to the course alone,
        and its bytes, without end."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request. Times are seconds on the monotonic clock, which all processes share.

    Args:
        asked: the number that the course gave.
        due: when it was to be sent; it may have been sent a little later.
        ended: when the answer was whole, or the failure certain.
        status: 0 if there was no answer.
        head: status line and headers of the answer, or why there is none.
        body: of the answer; equal ones are one object.
    """

    asked: int
    due: float
    ended: float
    status: int
    head: bytes
    body: bytes

    @property
    def wait(self) -> float:
        """Seconds from when it was due to the end."""
        return self.ended - self.due

    def header(self, name: bytes) -> bytes:
        """Return the value of the header *name*, as the service spells it; empty if there is none."""
        _, _, rest = self.head.partition(b"\r\n" + name + b": ")
        return rest.partition(b"\r\n")[0]


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
    load = _Load(plan)
    pipe.send("ready")
    pipe.recv()
    began = time.monotonic()
    pipe.send(began)
    load.run(began, pipe)
    pipe.send(load.replies)


@dataclass(slots=True)
class _Line:
    """A connection, and the request that it has under way.

    Args:
        received: what has come of an answer so far.
        asked, due: of its request, as `Reply` has them.
    """

    made: socket.socket
    received: bytes = b""
    asked: int = 0
    due: float = 0.0


@dataclass
class _Load:
    plan: _Plan
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._poll = select.epoll()
        self._idle: deque[int] = deque()
        self._lines: dict[int, _Line] = {}
        self._busy: dict[int, float] = {}
        """When the request of a line was sent, oldest first."""
        self._bodies: dict[bytes, bytes] = {}
        for _ in range(self.plan.connections):
            self._idle.append(self._open())

    def run(self, began: float, pipe: Connection) -> None:
        """Send what is due until told to end, or the time is over, and wait for what is under way."""
        ends, gap = began + self.plan.seconds, 1 / self.plan.rate
        due, looked = began, began
        for asked, request in self.plan.course.requests():
            while (now := time.monotonic()) < due:
                self._receive(due - now)
            if now - looked > 0.05:
                looked = now
                self._give_up(now)
                if pipe.poll():
                    pipe.recv()
                    break
            if due >= ends:
                break
            self._send(asked, request, due, now)
            due += gap
        while self._busy:
            self._receive(0.05)
            self._give_up(time.monotonic())

    def _open(self) -> int:
        made = socket.create_connection(("127.0.0.1", self.plan.port), PATIENCE)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        self._poll.register(made, select.EPOLLIN | select.EPOLLRDHUP)
        self._lines[made.fileno()] = _Line(made)
        return made.fileno()

    def _send(self, asked: int, request: bytes, due: float, now: float) -> None:
        try:
            file = self._idle.popleft() if self._idle else self._open()
        except OSError as error:
            self.replies.append(Reply(asked, due, time.monotonic(), 0, repr(error).encode(), b""))
            return
        line = self._lines[file]
        line.asked, line.due = asked, due
        self._busy[file] = now
        try:
            line.made.sendall(request)
        except OSError as error:
            self._fail(file, repr(error))

    def _receive(self, seconds: float) -> None:
        """Take what comes within *seconds*, or the first of it."""
        for file, _ in self._poll.poll(seconds):
            line = self._lines.get(file)
            if line is None:
                continue
            try:
                data = line.made.recv(_CHUNK)
            except BlockingIOError:
                continue
            except OSError as error:
                self._fail(file, repr(error))
                continue
            if not data:
                self._fail(file, "closed before an answer" if not line.received else "cut in an answer")
                continue
            line.received += data
            self._take(file, line)

    def _take(self, file: int, line: _Line) -> None:
        """Note the answer on *line* if it is whole."""
        received = line.received
        head = received.find(_END)
        if head < 0:
            return
        status = int(received[9:12])
        at = received.find(_LENGTH, 0, head)
        size = 0
        if at >= 0 and status not in _BODILESS:
            end = received.find(b"\r", at + len(_LENGTH))
            size = int(received[at + len(_LENGTH) : end])
        if len(received) < head + len(_END) + size:
            return
        body = received[head + len(_END) :]
        body = self._bodies.setdefault(body, body)
        self.replies.append(Reply(line.asked, line.due, time.monotonic(), status, received[:head], body))
        line.received = b""
        del self._busy[file]
        if b"\r\nConnection: close" in received[:head]:
            self._close(file)
        else:
            self._idle.append(file)

    def _fail(self, file: int, why: str) -> None:
        """Close a connection; what it had under way has failed."""
        line = self._lines[file]
        if self._busy.pop(file, None) is not None:
            self.replies.append(Reply(line.asked, line.due, time.monotonic(), 0, why.encode(), b""))
        else:
            self._idle.remove(file)
        self._close(file)

    def _close(self, file: int) -> None:
        line = self._lines.pop(file)
        self._poll.unregister(line.made)
        line.made.close()

    def _give_up(self, now: float) -> None:
        """Fail what has no answer for too long."""
        while self._busy:
            file, sent = next(iter(self._busy.items()))
            if now - sent < PATIENCE:
                return
            self._fail(file, f"no answer within {PATIENCE} s")


def percentile(waits: Sequence[float], share: float) -> float:
    """Return the wait that *share* of *waits* do not exceed, by the nearest rank."""
    ordered = sorted(waits)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
