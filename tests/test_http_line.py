"""The HTTP line: connections are kept, dead ones replaced, redirects bounded, TLS checked."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

import pytest

from shivx.providers import dial as dial_module
from shivx.providers.deadline import Deadline, DeadlinePassed
from shivx.providers.http_line import MAX_IDLE, MAX_IDLE_SECONDS, Answer, BadAnswer, HttpLine
from tests.exchange_server import ExchangeServer


@pytest.fixture
def server():
    """A loopback exchange."""
    with ExchangeServer("binance") as server:
        yield server


@pytest.fixture
def line(clock):
    """A line whose idle connections age by the fake clock."""
    line = HttpLine(clock.monotonic)
    yield line
    line.close()


def get(line, url, seconds=5.0):
    """Fetch *url*."""
    return line.request("GET", url, {"Accept-Encoding": "gzip"}, None, Deadline(seconds, time.monotonic))


def test_one_connection_serves_many_requests(line, server):
    """A kept-alive connection is used again, for compressed answers too."""
    for _ in range(5):
        assert get(line, server.url + "/api/v3/exchangeInfo").body.startswith(b'{"timezone"')
    assert server.connections == 1


def test_a_connection_that_the_server_closed_is_replaced(line, server):
    """What was closed while idle costs the caller nothing."""
    get(line, server.url + "/api/v3/time")
    server._server.cut_all()
    assert get(line, server.url + "/api/v3/time").status == 200
    assert server.connections == 2


def test_an_old_idle_connection_is_not_used(line, server, clock):
    """After half a minute of idling a connection may be dead without a word; it is closed."""
    get(line, server.url + "/api/v3/time")
    clock.advance(MAX_IDLE_SECONDS + 1)
    get(line, server.url + "/api/v3/time")
    assert server.connections == 2


def test_idle_connections_are_bounded(line, server):
    """However many were in use at once, eight are kept for later."""
    parts = urlsplit(server.url)
    taken = [line._take(parts, Deadline(5.0, time.monotonic))[0] for _ in range(20)]
    for connection in taken:
        connection.connect()
        line._keep(parts, connection, True)
    assert [len(kept) for kept in line._idle.values()] == [MAX_IDLE]


def test_a_child_process_does_not_use_its_parents_connections(line, server):
    """After a fork the connection belongs to the parent: the child opens its own."""
    get(line, server.url + "/api/v3/time")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if get(line, server.url + "/api/v3/time").status == 200 else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert get(line, server.url + "/api/v3/time").status == 200
    assert server.connections == 2


def test_redirects_are_followed_a_few_times(line, server):
    """One redirect leads on, a circle ends."""
    server.fault("/here", "redirect_once", times=1)
    assert get(line, server.url + "/here").status == 404
    server.fault("/round", "redirect_loop")
    with pytest.raises(BadAnswer, match="redirected"):
        get(line, server.url + "/round")


def test_a_redirect_away_from_tls_is_refused(line, monkeypatch):
    """What was asked under TLS is not answered without it."""
    away = Answer(302, "Found", {"location": "http://elsewhere/"}, b"")
    monkeypatch.setattr(line, "_ask", lambda *_: away)
    with pytest.raises(BadAnswer, match="less safe"):
        get(line, "https://exchange/")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc/passwd", "http:///path", "gopher://x"])
def test_other_schemes_are_refused(line, url):
    """Only http and https, with a host."""
    with pytest.raises(BadAnswer):
        get(line, url)


def test_tls_without_trust_is_refused(line):
    """A server whose certificate nobody vouches for gets no request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        accepted = threading.Thread(target=_shake_hands, args=(listener, context))
        accepted.start()
        with pytest.raises(OSError, match=r"(?i)ssl|tls|handshake|certificate"):
            get(line, f"https://127.0.0.1:{listener.getsockname()[1]}/")
        accepted.join()


def _shake_hands(listener, context):
    sock, _ = listener.accept()
    with sock:
        try:
            context.wrap_socket(sock, server_side=True).close()
        except OSError:
            return


def test_a_tls_server_that_says_nothing_is_left_at_the_deadline(line):
    """The handshake, too, ends at the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            get(line, f"https://127.0.0.1:{listener.getsockname()[1]}/", seconds=0.3)
        assert time.monotonic() - began < 3


def test_a_resolver_that_hangs_is_left_at_the_deadline(line, monkeypatch):
    """The system's resolver knows no deadline; ours holds all the same."""
    release = threading.Event()
    real = socket.getaddrinfo

    def slow(host, *args, **options):
        if options.get("flags"):
            return real(host, *args, **options)
        release.wait(10)
        raise OSError("no such host")

    monkeypatch.setattr(dial_module.socket, "getaddrinfo", slow)
    began = time.monotonic()
    with pytest.raises(DeadlinePassed):
        get(line, "http://exchange.invalid/", seconds=0.3)
    assert time.monotonic() - began < 3
    release.set()


def test_an_unknown_host_is_an_os_error(line):
    """A name that does not resolve is a failure of the network, not of ours."""
    with pytest.raises(OSError, match=r".+"):
        get(line, "http://exchange.invalid/")
