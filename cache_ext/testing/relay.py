"""The fault proxy's thread: accepts connections, moves their bytes, and carries out orders in between."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from cache_ext.testing.wires import NO_FAULT, Flow, Wire

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
CONNECT_SECONDS = 5.0
ORDER_SECONDS = 10.0
"""How long a call waits for the thread to do as told."""
IDLE_SECONDS = 60.0


class Relay:
    """Forwards connections to *target*, as `fault` lets it. Change its state by `order` only.

    Args:
        target: host and port.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.fault = NO_FAULT
        self.wires: list[Wire] = []
        self.accepted = 0
        self._gone_up = self._gone_down = 0
        self._orders: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._waker, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._place = _bound(HOST, 0)  # never listens; it keeps the port ours while connections are refused
        self.port: int = self._place.getsockname()[1]
        self._listener: socket.socket | None = None
        self.listen()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._thread.start()

    def order(self, order: Callable[[], None]) -> None:
        """Let the thread carry out *order*; return when it has.

        Raises:
            RuntimeError: it has ended.
        """
        if not self._running:
            raise RuntimeError("the proxy is closed")
        done = threading.Event()
        self._orders.append((order, done))
        self._waker.send(b"!")
        if not done.wait(ORDER_SECONDS):
            raise TimeoutError("the proxy's thread does not answer")

    def listen(self) -> None:
        """Accept connections, if it does not already."""
        if self._listener is None:
            self._listener = _bound(HOST, self.port)
            self._listener.listen()
            self._listener.setblocking(False)

    def refuse(self) -> None:
        """Reset all connections and accept no more."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for wire in self.wires:
            wire.close(reset=True)

    def forwarded(self) -> tuple[int, int]:
        """Return how many bytes went to the server and to clients, in all."""
        wires = list(self.wires)
        up = self._gone_up + sum(wire.up.forwarded for wire in wires)
        return up, self._gone_down + sum(wire.down.forwarded for wire in wires)

    def close(self) -> None:
        """End all connections and the thread."""
        if self._running:
            self.order(self._stop)
            self._thread.join()

    def _stop(self) -> None:
        self._running = False

    def _run(self) -> None:
        try:
            while self._running:
                self._round()
        except Exception:
            log.exception("fault proxy failed")
        finally:
            self._running = False
            for wire in self.wires:
                wire.close(reset=True)
            for line in (self._listener, self._place, self._waker, self._woken):
                if line is not None:
                    line.close()

    def _round(self) -> None:
        """Wait until something can be done, and do it."""
        with selectors.PollSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            if self._listener is not None:
                selector.register(self._listener, selectors.EVENT_READ)
            patience = self._watch(selector)
            ready: dict[object, int] = {key.fileobj: events for key, events in selector.select(patience)}
        now = time.monotonic()
        for wire in self.wires:
            self._serve(wire, ready, now)
        if self._listener in ready:
            self._accept()
        if self._woken in ready:
            self._woken.recv(4096)
            while self._orders:
                order, done = self._orders.popleft()
                order()
                done.set()
        self._forget_closed()

    def _watch(self, selector: selectors.PollSelector) -> float:
        """Register what can go on; return for how many seconds nothing falls due."""
        now, patience = time.monotonic(), IDLE_SECONDS
        for wire in self.wires:
            if wire.stands_still(self.fault):
                continue
            wanted: dict[socket.socket, int] = {}
            for flow in (wire.up, wire.down):
                if flow.reads:
                    wanted[flow.source] = wanted.get(flow.source, 0) | selectors.EVENT_READ
                if flow.held and flow.held[0][0] <= now:
                    wanted[flow.sink] = wanted.get(flow.sink, 0) | selectors.EVENT_WRITE
                elif flow.held:
                    patience = min(patience, flow.held[0][0] - now)
            for line, events in wanted.items():
                selector.register(line, events)
        return patience

    def _serve(self, wire: Wire, ready: dict[object, int], now: float) -> None:
        for flow in (wire.up, wire.down):
            try:
                self._move(wire, flow, ready, now)
            except BlockingIOError:
                continue
            except OSError:
                wire.close(reset=True)

    def _move(self, wire: Wire, flow: Flow, ready: dict[object, int], now: float) -> None:
        if wire.closed or wire.stands_still(self.fault):
            return
        if flow.reads and ready.get(flow.source, 0) & selectors.EVENT_READ:
            wire.read(flow, self.fault, now)
        if not wire.stands_still(self.fault):
            wire.pass_on(flow, self.fault, now)

    def _accept(self) -> None:
        if self._listener is None:
            return
        client, _ = self._listener.accept()
        self.accepted += 1
        try:
            server = socket.create_connection(self.target, CONNECT_SECONDS)
        except OSError:
            client.close()
            return
        wire = Wire(client, server)
        self.wires.append(wire)
        if self.fault.cut_after == 0 and wire.concerned(self.fault):
            wire.close(self.fault.reset)

    def _forget_closed(self) -> None:
        for wire in [wire for wire in self.wires if wire.closed]:
            self._gone_up += wire.up.forwarded
            self._gone_down += wire.down.forwarded
        self.wires = [wire for wire in self.wires if not wire.closed]


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address; others of ours may be bound there too, one of them listening."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    line.bind((host, port))
    return line
