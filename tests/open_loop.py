"""Clients that ask at a steady rate, whatever becomes of what they asked before; each answer is kept."""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.waiting import until

PATIENCE = 60.0  # seconds, for one answer on a busy machine
_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Stream:
    """One client.

    Args:
        rate: of its requests, each second.
        paths: what it asks for, in turn.
        source: the address that it asks from; any of 127.0.0.0/8.
        headers: of its requests.
    """

    rate: float
    paths: tuple[str, ...]
    source: str = "127.0.0.1"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Reply:
    """What came of one request. Times are seconds on the monotonic clock.

    Args:
        due: when it was to be sent; `sent`: when it was.
        status: 0 if there was no answer; `error` says why.
        headers: by their names in lower case.
    """

    stream: Stream
    path: str
    due: float
    sent: float
    ended: float
    status: int = 0
    error: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def under_way(self, began: float, ended: float) -> bool:
        """Tell whether it was neither answered before *began* nor sent after *ended*."""
        return self.sent <= ended and self.ended >= began


class OpenLoop:
    """Clients of the server on *port*, who ask while the with block lasts and then wait for what is due."""

    def __init__(self, port: int, streams: Sequence[Stream]) -> None:
        self.replies: list[Reply] = []
        self._port = port
        self._streams = streams
        self._over = threading.Event()
        self._idle: dict[str, list[_Line]] = defaultdict(list)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="open-loop")

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def until_more(self, number: int) -> None:
        """Wait until so many more requests are answered."""
        enough = len(self.replies) + number
        until(lambda: len(self.replies) >= enough, f"{number} more requests are answered", PATIENCE)

    async def _run(self) -> None:
        asking = set()
        began = time.monotonic()
        # Clients do not begin together: the first requests of all are spread over a second.
        due = [
            (began + number / len(self._streams) / each.rate, number, 0)
            for number, each in enumerate(self._streams)
        ]
        heapq.heapify(due)
        while not self._over.is_set():
            when, number, count = due[0]
            await asyncio.sleep(max(0.0, when - time.monotonic()))
            stream = self._streams[number]
            task = asyncio.create_task(self._ask(stream, stream.paths[count % len(stream.paths)], when))
            asking.add(task)
            task.add_done_callback(asking.discard)
            heapq.heapreplace(due, (when + 1 / stream.rate, number, count + 1))
        await asyncio.gather(*asking)
        for line in [line for lines in self._idle.values() for line in lines]:
            line.writer.close()

    async def _ask(self, stream: Stream, path: str, due: float) -> None:
        sent = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                status, headers, body = await self._exchange(stream, path)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as problem:
            self.replies.append(Reply(stream, path, due, sent, time.monotonic(), error=repr(problem)))
        else:
            self.replies.append(Reply(stream, path, due, sent, time.monotonic(), status, "", headers, body))

    async def _exchange(self, stream: Stream, path: str) -> tuple[int, dict[str, str], bytes]:
        line = await self._line(stream.source)
        try:
            answer = await line.exchange(stream, path)
        except BaseException:
            line.writer.transport.abort()
            raise
        self._idle[stream.source].append(line)
        return answer

    async def _line(self, source: str) -> _Line:
        """Return a connection from *source* that nobody uses and that the server has not closed."""
        while lines := self._idle[source]:
            line = lines.pop()
            if not line.reader.at_eof():
                return line
            line.writer.close()
        return _Line(*await asyncio.open_connection("127.0.0.1", self._port, local_addr=(source, 0)))


@dataclass(frozen=True)
class _Line:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def exchange(self, stream: Stream, path: str) -> tuple[int, dict[str, str], bytes]:
        """Send a request and return the status, the headers and the body of the answer."""
        told = (("Host", "shivx.test"), ("Content-Length", "0"), *stream.headers)
        head = [f"{stream.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told), "", ""]
        self.writer.write("\r\n".join(head).encode())
        first, *rest = (await self.reader.readuntil(_END)).decode("latin-1").split("\r\n")
        pairs = [field.partition(":") for field in rest if field]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers, body
