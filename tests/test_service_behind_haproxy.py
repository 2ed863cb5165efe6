"""Three instances of two workers behind a real HAProxy: what clients see when one dies or drains."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.haproxy import HAProxy
from tests.haproxy_stage import GREEDY, INSTANCES, LIMIT, ME, VISITOR, Site, excess, failed, served, site_on
from tests.nginx import ask
from tests.servers import RunningServer, SharedServers
from tests.traffic import PATIENCE
from tests.waiting import until

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("haproxy")]


@pytest.fixture(scope="module")
def site(
    haproxy: str,
    module_redis_server: RunningServer,
    shared_servers: SharedServers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The site, on one Redis."""
    with site_on(module_redis_server.url, tmp_path_factory.mktemp("site"), shared_servers) as site:
        yield site


def test_an_instance_that_is_killed_costs_what_it_was_just_answering(site: Site) -> None:
    """At 500 requests a second: nothing else fails, nothing is outdated, limits hold, sessions stay."""
    with site.load() as load:
        load.until_more(1500)
        before = time.monotonic()
        site.instances[0].kill()
        after = time.monotonic()
        site.invalidate(site.instances[1])
        site.proxy.until_down("one")
        load.until_more(1000)
        site.instances[0].start()
        site.proxy.until_up("one")
        back = int(site.proxy.figures()["one"]["stot"])
        site.invalidate(site.instances[2])
        load.until_more(1000)
    told = site.proxy.figures()["one"]
    assert int(told["wredis"]) > 0, "what could not be sent to it went to another"
    assert int(told["stot"]) > back, "it gets its share when it is back"
    assert [each for each in failed(load.replies) if not each.under_way(before, after)] == []
    assert site.outdated(load.replies) == []
    visits = [each for each in load.replies if each.path == ME]
    assert {json.loads(each.body)["username"] for each in served(visits)} == {VISITOR}
    assert {each.status for each in visits if not each.under_way(before, after)} == {200}
    assert excess(load.replies) == []
    # What reached the killed instance and was not answered by it has counted, and counts again elsewhere.
    assert len(served(load.replies, GREEDY)) >= LIMIT - int(told["eresp"]) - len(failed(load.replies))
    assert {each.stream.source for each in load.replies if each.status == 429} == {GREEDY}


def test_an_instance_that_is_told_to_end_costs_nothing(site: Site) -> None:
    """The proxy notices that it drains, before it ends: no request fails."""
    with site.load() as load:
        load.until_more(500)
        site.instances[1].signal(signal.SIGTERM)
        site.proxy.until_down("two")
        assert site.instances[1].running, "it is still there for those who come late"
        until(lambda: not site.instances[1].running, "it has ended", PATIENCE)
        load.until_more(500)
        site.instances[1].start()
        site.proxy.until_up("two")
    assert failed(load.replies) == []


def test_the_numbers_are_not_for_the_world(site: Site) -> None:
    """What Prometheus asks each instance for does not pass the proxy."""
    assert ask(site.proxy.port, "/metrics", {}).status == 404
    assert ask(site.proxy.port, "/healthz", {}).status == 200


class Dying(BaseHTTPRequestHandler):
    """An instance that is ready, and dies of every request: it closes the connection without an answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer the probe of the proxy only."""
        if self.path == "/readyz":
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._die()

    def do_POST(self) -> None:
        """Answer nothing."""
        self._die()

    def _die(self) -> None:
        self.server.asked.append(self.command)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Be silent."""


class Origin(ThreadingHTTPServer):
    """One instance of those; `asked` has the method of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Dying)
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def server_close(self) -> None:
        """End it."""
        self.shutdown()
        self._thread.join()
        super().server_close()


def test_what_may_change_something_is_sent_once() -> None:
    """A GET that was not answered goes to the others; a POST does not, whoever gets it."""
    with ExitStack() as started:
        origins = [started.enter_context(Origin()) for _ in range(INSTANCES)]
        proxy = started.enter_context(HAProxy([f"127.0.0.1:{each.server_port}" for each in origins]))
        for method, times in (("POST", 1), ("GET", 4)):
            with socket.create_connection(("127.0.0.1", proxy.port)) as line:
                line.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
                assert line.makefile("rb").readline().split()[1] == b"502"
            assert sum(each.asked.count(method) for each in origins) == times
