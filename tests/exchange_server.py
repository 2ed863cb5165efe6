"""A loopback exchange: the public REST of Kraken, Coinbase Exchange or Binance, with faults to switch on.

In a test::

    with ExchangeServer("kraken") as server:
        server.fault("*/Ticker", "limit", times=1)

For a service in another process: ``python -m tests.exchange_server --exchange kraken --port 0`` prints its
address; ``POST /__faults`` takes ``{"pattern": "*/Ticker", "kind": "limit", "times": 1}`` (``{}`` heals),
``GET /__counts`` answers how often each path was asked for.
"""

from __future__ import annotations

import argparse
import gzip
import json
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.exchange_dialects import DIALECTS
from tests.exchange_faults import CONTENT_FAULTS, WIRE_FAULTS, Fault, FaultTable, spoil
from tests.exchange_wire import Reply, to_json

DRIP_SECONDS = 0.05  # between two bytes: far below any timeout for a single read
FLOOD_BYTES = 64 * 1024 * 1024
HTML = b"<!DOCTYPE html><html><body>Checking your browser before accessing</body></html>"


class ExchangeServer:
    """One exchange on a free port of the loopback, in a thread of its own.

    Args:
        exchange: ``kraken``, ``coinbaseexchange`` or ``binance``.
        port: 0 for any free one.
        clock: Unix seconds; what the market knows of the time.
    """

    def __init__(self, exchange: str, port: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.exchange = exchange
        self.clock = clock
        self.faults = FaultTable()
        self.queries: list[tuple[str, dict[str, str]]] = []
        self.times: list[float] = []
        self.closing = threading.Event()
        self._server = _Server(self, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), name=f"exchange-{exchange}"
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """The base address, as SHIVX_MARKET_SOURCE_URL takes it."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def connections(self) -> int:
        """How many connections were ever accepted."""
        return self._server.accepted

    def fault(self, pattern: str, kind: str, times: int | None = None, value: Any = None) -> None:
        """Let the next *times* requests (None: all) for paths like *pattern* fail in the manner of *kind*."""
        if kind not in CONTENT_FAULTS | WIRE_FAULTS:
            raise ValueError(f"no fault {kind!r}")
        self.faults.add(Fault(pattern, kind, times, value))

    def heal(self) -> None:
        """End all faults."""
        self.faults.clear()

    def counts(self) -> dict[str, int]:
        """Return how often each path was asked for."""
        return self.faults.counts()

    @property
    def total(self) -> int:
        """How many requests there were."""
        return sum(self.counts().values())

    def close(self) -> None:
        """Stop, cut all connections and wait for all threads."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.cut_all()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them
    request_queue_size = 128

    def __init__(self, owner: ExchangeServer, port: int) -> None:
        self.owner = owner
        self.accepted = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        self.accepted += 1
        with self._lock:
            self._open.add(sock)
        return sock, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        """End what clients keep alive."""
        with self._lock:
            for sock in self._open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:  # already gone
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what is tested here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        owner = self.server.owner
        if parts.path == "/__counts":
            self._send(200, json.dumps(owner.counts()).encode())
            return
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        owner.queries.append((parts.path, query))
        owner.times.append(time.monotonic())
        fault = owner.faults.count(parts.path)
        if fault is not None and fault.kind in WIRE_FAULTS:
            self._misbehave(fault)
            return
        now = int(owner.clock() * 1000)
        reply = DIALECTS[owner.exchange].answer(parts.path, query, now) or Reply(404, {"message": "no route"})
        headers = {}
        if fault is not None:
            reply = spoil(owner.exchange, fault, reply)
            if fault.kind == "status" and " retry " in str(fault.value):
                headers["Retry-After"] = fault.value.partition(" retry ")[2]
        self._send(reply.status, to_json(reply.body).encode(), headers)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or b"{}")
        if asked:
            self.server.owner.fault(**asked)
        else:
            self.server.owner.heal()
        self._send(200, b"{}")

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        headers = {"Content-Type": kind, **(headers or {})}
        if "gzip" in self.headers.get("Accept-Encoding", "") and len(body) > 1024:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _misbehave(self, fault: Fault) -> None:
        getattr(self, f"_do_{fault.kind}")(fault)

    def _do_hang(self, fault: Fault) -> None:
        self.server.owner.closing.wait()
        self.close_connection = True

    def _do_drip(self, fault: Fault) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{")
        self._drip(b" ")

    def _do_drip_headers(self, fault: Fault) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self._drip(b"a")

    def _drip(self, byte: bytes) -> None:
        while not self.server.owner.closing.wait(DRIP_SECONDS):
            self._raw(byte)

    def _do_cut(self, fault: Fault) -> None:
        self._raw(
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"error":['
        )

    def _do_reset(self, fault: Fault) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.server.owner.closing.is_set()
        self.connection.close()

    def _do_html(self, fault: Fault) -> None:
        self._send(int(fault.value or 200), HTML, kind="text/html")

    def _do_truncated(self, fault: Fault) -> None:
        self._send(200, b'{"error":[],"result":{"XXBTZUSD":{"a":["650')

    def _do_garbage(self, fault: Fault) -> None:
        self._raw(b"\x16\x03\x01\x00\xa5 this is not HTTP at all\r\n\r\n")

    def _do_not_utf8(self, fault: Fault) -> None:
        self._send(200, b'{"error":[],"result":{"\xff\xfe":1}}')

    def _do_huge(self, fault: Fault) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
        for _ in range(FLOOD_BYTES // 65_536):
            self._raw(b"[" * 65_536)

    def _do_gzip_bomb(self, fault: Fault) -> None:
        bomb = gzip.compress(b" " * FLOOD_BYTES, 9)
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb))
        self._raw(bomb)

    def _do_redirect_loop(self, fault: Fault) -> None:
        self.send_response(302)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    _do_redirect_once = _do_redirect_loop

    def _raw(self, data: bytes) -> None:
        self.close_connection = True
        self.wfile.write(data)
        self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Put the market's time into the Date header."""
        return formatdate(self.server.owner.clock(), usegmt=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve one exchange until told to stop."""
    parser = argparse.ArgumentParser(description="a loopback exchange for tests")
    parser.add_argument("--exchange", choices=sorted(DIALECTS), default="kraken")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    with ExchangeServer(options.exchange, options.port) as server:
        print(server.url, flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
