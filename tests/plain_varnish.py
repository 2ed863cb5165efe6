"""A real Varnish with its built-in rules, and servers for WSGI applications behind and beside it."""

from __future__ import annotations

import http.client
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from tests.http_stage import Reply
from tests.processes import free_port, spawn, terminate
from tests.waiting import until

VCL = 'vcl 4.1; backend default {{ .host = "127.0.0.1"; .port = "{port}"; }}\n'


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = False
    block_on_close = True


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """Answer one request."""
        self.raw_requestline = self.rfile.readline(65_537)
        if self.parse_request():
            handler = ServerHandler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
            handler.request_handler = self  # type: ignore[attr-defined]
            handler.run(self.server.get_app())  # type: ignore[attr-defined]


@contextmanager
def served(app: Any) -> Iterator[int]:
    """Serve *app* on a free port of loopback."""
    port = free_port()
    server = _Server(("127.0.0.1", port), _Handler)
    server.set_app(app)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def varnish(program: str, backend: int) -> Iterator[int]:
    """Run Varnish in front of *backend*, a port; nothing is cached that does not say for how long."""
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="varnish-", dir="/tmp"))
    folder.chmod(0o755)  # it gives up root's rights before it reads this
    (folder / "default.vcl").write_text(VCL.format(port=backend))
    command = [program, "-F", "-n", str(folder / "work"), "-a", f"127.0.0.1:{port}", "-s", "malloc,16m"]
    options = ["default_ttl=0", "default_grace=0", "default_keep=60"]
    command += ["-f", str(folder / "default.vcl"), *(word for option in options for word in ("-p", option))]
    process = spawn(command, folder / "log")
    try:
        until(lambda: process.poll() is not None or _answers(port), "Varnish answers", 30)
        yield port
    finally:
        terminate(process)
        shutil.rmtree(folder)


def ask(port: int, method: str, path: str, headers: Mapping[str, str]) -> Reply:
    """Send a request on a new connection and return the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": "example.com", **headers})
        answer = connection.getresponse()
        return Reply(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def _answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/is-it-there", {}).status > 0
    except OSError:
        return False
