"""The connections of an open loop: each request leaves when it is due, on a free one or on one more."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

PATIENCE = 10.0
"""Seconds after which a request without an answer has failed."""
LOOK = 0.05
"""Seconds between two looks for what is told from outside, and for what has waited too long."""
_CHUNK = 1 << 18
_END = b"\r\n\r\n"
_LENGTH = b"\r\nContent-Length: "
_BODILESS = frozenset({304})
IsOver = Callable[[], bool]


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


class OpenLines:
    """Kept connections to the server on *port* of loopback; `replies` are those so far.

    Args:
        count: that are opened at once.
    """

    def __init__(self, port: int, count: int) -> None:
        self.replies: list[Reply] = []
        self._port = port
        self._poll = select.epoll()
        self._idle: deque[int] = deque()
        self._lines: dict[int, _Line] = {}
        self._busy: dict[int, float] = {}
        """When the request of a line was sent, oldest first."""
        self._bodies: dict[bytes, bytes] = {}
        for _ in range(count):
            self._idle.append(self._open())

    def ask(self, requests: Iterable[tuple[int, bytes]], began: float, gap: float, is_over: IsOver) -> None:
        """Send one of *requests* each *gap* seconds, until it is over; wait for what is under way then.

        Args:
            requests: each with the number of what it asks for.
            began: when the first is due, monotonic seconds.
            is_over: asked now and then.
        """
        due = looked = began
        for asked, request in requests:
            while True:  # take what has come at least once for each that leaves, late though it may be
                now = time.monotonic()
                self._receive(max(0.0, due - now))
                if now >= due:
                    break
            if now - looked > LOOK:
                looked = now
                self._give_up(now)
                if is_over():
                    break
            self._send(asked, request, due, now)
            due += gap
        while self._busy:
            self._receive(LOOK)
            self._give_up(time.monotonic())

    def _open(self) -> int:
        made = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
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
