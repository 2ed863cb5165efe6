"""An HTTP client for load: many kept connections in one thread, each answer checked and counted.

Closed loop: each connection asks again when it has its answer, which compares throughput. Open loop: requests
are due at a steady rate whatever becomes of those before, and wait is counted from when they were due, so a
server that stands still does not make the client ask less.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Self

LOST = 20.0
"""Seconds without any answer after which a server is given up."""
_CHUNK = 1 << 18
_END = b"\r\n\r\n"
_LENGTH = b"\r\nContent-Length: "


class WrongAnswer(Exception):
    """An answer is not the one that is measured."""


class Connections:
    """Kept connections to one server on loopback.

    Args:
        port: of the server.
        requests: what the connections send, each one of them, in turn.
        status: that each answer has.
        bodies: whether answers have one; those to HEAD and 304 have none, whatever Content-Length says.
    """

    def __init__(self, port: int, requests: Sequence[bytes], count: int, status: int, bodies: bool) -> None:
        self._begin = f"HTTP/1.1 {status} ".encode()
        self._bodies = bodies
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._requests: dict[int, bytes] = {}
        for number in range(count):
            made = socket.create_connection(("127.0.0.1", port))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[made.fileno()] = made
            self._requests[made.fileno()] = requests[number % len(requests)]
            self._poll.register(made, select.EPOLLIN)
        self._received = dict.fromkeys(self._sockets, b"")

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *failure: object) -> None:
        self._poll.close()
        for each in self._sockets.values():
            each.close()

    def press(self, seconds: float) -> tuple[float, int]:
        """Ask as fast as answers come; return requests per second, and how many there were."""
        began = time.monotonic()
        ends, done = began + seconds, 0
        for file in self._sockets:
            self._send(file)
        under_way = len(self._sockets)
        while under_way:
            for file in self._answered(LOST):
                done += 1
                if time.monotonic() < ends:
                    self._send(file)
                else:
                    under_way -= 1
        return done / (time.monotonic() - began), done

    def pace(self, rate: float, seconds: float) -> list[float]:
        """Ask *rate* times a second; return for each request the seconds from when it was due."""
        idle, due_of, waits = deque(self._sockets), {}, []
        began, number, count = time.monotonic(), 0, round(rate * seconds)
        while len(waits) < count:
            now = time.monotonic()
            while idle and number < count and began + number / rate <= now:
                file = idle.popleft()
                due_of[file] = began + number / rate
                self._send(file)
                number += 1
            pause = began + number / rate - now if idle and number < count else LOST
            for file in self._answered(max(0.0, pause), lost=pause == LOST):
                waits.append(time.monotonic() - due_of.pop(file))
                idle.append(file)
        return waits

    def _send(self, file: int) -> None:
        self._sockets[file].sendall(self._requests[file])

    def _answered(self, seconds: float, *, lost: bool = True) -> list[int]:
        """Return the connections whose answers are whole, after *seconds* at most."""
        found = []
        ready = self._poll.poll(seconds)
        if lost and not ready:
            raise WrongAnswer(f"no answer within {seconds} s")
        for file, _ in ready:
            received = self._received[file] + self._sockets[file].recv(_CHUNK)
            if self._is_whole(received):
                self._received[file] = b""
                found.append(file)
            else:
                self._received[file] = received
        return found

    def _is_whole(self, received: bytes) -> bool:
        if not received.startswith(self._begin[: len(received) or 1]):
            raise WrongAnswer(received[:200].decode("latin-1") or "the connection was closed")
        head = received.find(_END)
        if head < 0:
            return False
        if not self._bodies:
            return True
        at = received.find(_LENGTH, 0, head) + len(_LENGTH)
        if at < len(_LENGTH):
            raise WrongAnswer("no Content-Length")
        return len(received) - head - len(_END) >= int(received[at : received.index(b"\r", at)])
