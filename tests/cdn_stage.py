"""What tests of purging share: a purger that is watched and held, and Fastly's purge API on the loopback."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Collection, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

from cache_ext.cdn.purgers import PurgeFailed
from tests.waiting import until

PATIENCE = 10.0


def send(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> int:
    """Send a request on a connection of its own; return the status."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request(method, parts.path or "/", body, dict(headers))
        with connection.getresponse() as response:
            response.read()
            return response.status
    finally:
        connection.close()


class WatchedPurger:
    """Notes what it is to purge; fails while `failing`, waits while held."""

    def __init__(self) -> None:
        self.asked: list[frozenset[str]] = []
        self.failing = False
        self.free = threading.Event()
        self.free.set()

    def purge(self, names: Collection[str]) -> None:
        """Note *names*."""
        self.asked.append(frozenset(names))
        if not self.free.wait(PATIENCE):
            raise PurgeFailed("held for too long")
        if self.failing:
            raise PurgeFailed("told to fail")

    def until_asked(self, times: int) -> None:
        """Wait until it was asked so often."""
        until(lambda: len(self.asked) >= times, f"{times} purges", PATIENCE)


class FastlyApi:
    """Answers purges as Fastly's API does.

    Source: https://www.fastly.com/documentation/reference/api/purging/ ("Purge multiple surrogate key tags"):
    ``POST /service/{service_id}/purge`` with ``{"surrogate_keys": […]}``, up to 256 of them, and the header
    ``Fastly-Key``; the answer is a JSON object of purge ids by key.

    Args:
        service: the only one there is.
        token: the only one that may purge it.
    """

    def __init__(self, service: str, token: str) -> None:
        self.purged: list[list[str]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Fastly-Key"] != token:
                    return self._answer(401, {"msg": "Provided credentials are missing or invalid"})
                if self.path != f"/service/{service}/purge":
                    return self._answer(404, {"msg": "Record not found"})
                keys = json.loads(body)["surrogate_keys"]
                if self.headers["Content-Type"] != "application/json" or not 1 <= len(keys) <= 256:
                    return self._answer(400, {"msg": "Bad request"})
                api.purged.append(keys)
                return self._answer(200, {key: f"108-1391560174-{at}" for at, key in enumerate(keys)})

            def _answer(self, status: int, said: object) -> None:
                body = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}/service/{service}"

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
