"""One connection through the fault proxy: two flows of bytes, and what a fault does to them."""

from __future__ import annotations

import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

CHUNK_BYTES = 65_536
MOST_HELD_BYTES = 4 * 2**20
"""A flow whose sink takes no more than that is not read any further, as a kernel's buffer would fill."""
SENT_KEPT_BYTES = 2**20
"""So much of what a client sent is kept, to tell its connection from others."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at the moment; by default nothing.

    Args:
        delay: seconds that each piece of a reply comes late.
        stalls: nothing is forwarded, until another fault, or none, takes this one's place.
        vanishes: nothing is forwarded ever again.
        cut_after: bytes of replies after which the connection ends; None: it does not.
        reset: it ends with RST rather than FIN.
        only: what a client must have sent for its connection to be concerned; empty concerns all.
    """

    delay: float = 0.0
    stalls: bool = False
    vanishes: bool = False
    cut_after: int | None = None
    reset: bool = True
    only: bytes = b""


NO_FAULT = Fault()


class Flow:
    """The bytes that go from *source* to *sink*, and are held in between."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.held: deque[tuple[float, bytes]] = deque()
        self.held_bytes = 0
        self.forwarded = 0
        self.ended = False
        self.shut = False

    @property
    def reads(self) -> bool:
        """Whether more may be read from the source."""
        return not self.ended and self.held_bytes < MOST_HELD_BYTES

    def take(self) -> bytes:
        """Return what is there at the source; empty if it has ended."""
        data = self.source.recv(CHUNK_BYTES)
        self.ended = not data
        return data

    def hold(self, data: bytes, due: float) -> None:
        """Keep *data* until *due*, seconds on the monotonic clock."""
        if data:
            self.held.append((due, data))
            self.held_bytes += len(data)

    def pass_on(self, now: float) -> None:
        """Send what is due; after the last of it, the end."""
        while self.held and self.held[0][0] <= now:
            due, data = self.held[0]
            sent = self.sink.send(data)
            self.forwarded += sent
            self.held_bytes -= sent
            if sent < len(data):
                self.held[0] = due, data[sent:]
                return
            self.held.popleft()
        if self.ended and not self.held and not self.shut:
            self.shut = True
            with suppress(OSError):  # the other end may be gone already
                self.sink.shutdown(socket.SHUT_WR)


class Wire:
    """A client's connection to the proxy and the one from there to the server, both non-blocking."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        for line in (client, server):
            line.setblocking(False)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.up = Flow(client, server)
        self.down = Flow(server, client)
        self.sent = bytearray()
        self.vanished = False
        self.cut_left: int | None = None
        self.closed = False

    def concerned(self, fault: Fault) -> bool:
        """Tell whether *fault* is one of this connection's."""
        return fault.only in self.sent

    def stands_still(self, fault: Fault) -> bool:
        """Tell whether nothing may pass now."""
        if fault.vanishes and self.concerned(fault):
            self.vanished = True
        return self.vanished or (fault.stalls and self.concerned(fault))

    def read(self, flow: Flow, fault: Fault, now: float) -> None:
        """Take what is there for *flow*, and hold it as long as *fault* says."""
        data = flow.take()
        if flow is self.up:
            self.sent += data[: SENT_KEPT_BYTES - len(self.sent)]
            flow.hold(data, now)
            return
        if self.cut_left is None and self.concerned(fault):
            self.cut_left = fault.cut_after
        if self.cut_left is not None:
            data = data[: self.cut_left]
            self.cut_left -= len(data)
            flow.ended |= self.cut_left == 0
        flow.hold(data, now + (fault.delay if self.concerned(fault) else 0.0))

    def pass_on(self, flow: Flow, fault: Fault, now: float) -> None:
        """Send what is due of *flow*; close both ends if nothing more can come, or all that may came."""
        flow.pass_on(now)
        if self.cut_left == 0 and not self.down.held:
            self.close(fault.reset)
        elif self.up.shut and self.down.shut:
            self.close(reset=False)

    def close(self, reset: bool) -> None:
        """End both connections, with RST if *reset*."""
        self.closed = True
        for line in (self.up.source, self.up.sink):
            with suppress(OSError):
                if reset:
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                line.close()
