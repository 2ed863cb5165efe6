"""Three instances of two workers behind a real HAProxy: what clients see when one dies or drains."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.accounts_stage import PASSWORD
from tests.haproxy import HAProxy, noticing_seconds
from tests.nginx import ask
from tests.open_loop import OpenLoop, Reply, Stream
from tests.servers import RunningServer, SharedServers
from tests.service import GunicornService
from tests.traffic import PATIENCE
from tests.waiting import until

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("haproxy")]

INSTANCES, WORKERS = 3, 2
PAIRS = ("BTC-USDC", "ETH-USDC", "SOL-USDC")
PATHS = tuple(f"/api/market/{kind}/{pair}" for kind in ("price", "orderbook") for pair in PAIRS)
ME = "/api/auth/me"
BOUND = 1.0
"""Seconds after an invalidation, at most, until no worker anywhere has an older value."""
LIMIT = 700  # a minute: more than a modest client asks for, reached by the greedy one in seconds
MODEST, GREEDY = 36, "127.0.0.9"
STREAMS = [
    *(
        Stream(10.0, PATHS[number % 6 :] + PATHS[: number % 6], f"127.0.1.{number}")
        for number in range(MODEST)
    ),
    Stream(
        120.0, PATHS, GREEDY, headers=(("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=203.0.113.7"))
    ),
]
VISITS = 20.0
"""Requests a second of somebody who is logged in; 500 in all with those of `STREAMS`."""
WINDOW = 60.0


class Site:
    """The instances, the proxy before them, and the cookie of somebody who is logged in."""

    def __init__(self, instances: list[GunicornService], proxy: HAProxy, cookie: str) -> None:
        self.instances = instances
        self.proxy = proxy
        self._visitor = Stream(VISITS, (ME,), "127.0.0.8", headers=(("Cookie", cookie),))
        self.changes: list[tuple[datetime, float]] = []
        """When prices and books were invalidated: asked for, and done on the monotonic clock."""

    def load(self) -> OpenLoop:
        """Return clients that make 500 requests a second."""
        return OpenLoop(self.proxy.port, [*STREAMS, self._visitor])

    def invalidate(self, service: GunicornService) -> None:
        """Have *service* invalidate all that clients ask for."""
        now = datetime.now(UTC)
        asked = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as exact as answers are
        body = json.dumps({"tags": [f"pair:simulated:{pair}" for pair in PAIRS]}).encode()
        headers = {"Content-Type": "application/json", **dict(self._visitor.headers)}
        answer = service.send("POST", "/api/admin/cache/invalidate", body, headers)
        assert (answer.status, json.loads(answer.body)["outcome"]) == (200, "done"), answer.body
        self.changes.append((asked, time.monotonic()))

    def outdated(self, replies: list[Reply]) -> list[Reply]:
        """Return answers to what was asked a bound after an invalidation, with something from before it."""
        return [
            each
            for each in served(replies)
            for asked, done in self.changes
            if each.path in PATHS and each.sent > done + BOUND and received(each) < asked
        ]


@pytest.fixture(scope="module")
def site(
    haproxy: str,
    module_redis_server: RunningServer,
    shared_servers: SharedServers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The site, on one Redis."""
    env = {
        "SHIVX_REDIS_URL": module_redis_server.url,
        "SHIVX_SECRET_KEYS": "one-secret-of-all-instances-long-enough",
        "SHIVX_DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('accounts')}/shivx.db",
        "SHIVX_TRUSTED_PROXIES": "1",
        "SHIVX_LIMIT_ANONYMOUS": str(LIMIT),
        "SHIVX_LIMIT_ADMIN": "1000000",
        "SHIVX_CACHE_MARKET_PRICE_TTL": "600",  # what is new is so because it was invalidated
        "SHIVX_CACHE_ORDERBOOK_TTL": "600",
        "SHIVX_CACHE_OP_TIMEOUT": "1",  # a busy machine is no dead Redis
        "SHIVX_DRAIN_SECONDS": str(noticing_seconds() + 1),
    }
    with ExitStack() as started:
        instances = []
        for _ in range(INSTANCES):
            folder = tmp_path_factory.mktemp("instance")
            service = GunicornService(workers=WORKERS, env=env, folder=folder)
            instances.append(started.enter_context(service))
        shared_servers.others += instances
        started.callback(lambda: [shared_servers.others.remove(each) for each in instances])
        create = ("accounts", "create", "root", "--tier", "admin", "--password-stdin")
        done = instances[0].run("flask", *create, stdin=f"{PASSWORD}\n")
        assert done.returncode == 0, done.stderr
        body = json.dumps({"username": "root", "password": PASSWORD}).encode()
        headers = {"Content-Type": "application/json"}
        answer = instances[0].send("POST", "/api/auth/login", body, headers)
        (cookie,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
        proxy = started.enter_context(HAProxy([each.address for each in instances]))
        shared_servers.others.append(proxy)
        started.callback(lambda: shared_servers.others.remove(proxy))
        yield Site(instances, proxy, f"{cookie.key}={cookie.value}")
        for each in instances:
            each.signal(signal.SIGTERM)  # the second one, of its end, ends its drain


def served(replies: list[Reply], source: str = "") -> list[Reply]:
    """Return those that are an answer with what was asked for, of one client or of all."""
    return [each for each in replies if each.status == 200 and source in ("", each.stream.source)]


def failed(replies: list[Reply]) -> list[Reply]:
    """Return those that are neither an answer nor a refusal to whoever asks too often."""
    return [each for each in replies if each.status not in (200, 429)]


def received(reply: Reply) -> datetime:
    """Return when the service got from the exchange what it answered."""
    return datetime.fromisoformat(json.loads(reply.body)["received_at"])


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
    assert {json.loads(each.body)["username"] for each in served(visits)} == {"root"}
    assert {each.status for each in visits if not each.under_way(before, after)} == {200}
    admitted = served(load.replies, GREEDY)
    sent, ended = sorted(each.sent for each in admitted), sorted(each.ended for each in admitted)
    assert all(end - began > WINDOW for began, end in zip(sent, ended[LIMIT:], strict=False))
    # What reached the killed instance and was not answered by it has counted, and counts again elsewhere.
    assert len(admitted) >= LIMIT - int(told["eresp"]) - len(failed(load.replies))
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
