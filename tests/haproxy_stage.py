"""Several instances of the service behind a real HAProxy, clients of all kinds, and what they must see."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path

from tests.accounts_stage import PASSWORD
from tests.haproxy import HAProxy, noticing_seconds
from tests.open_loop import OpenLoop, Reply, Stream
from tests.servers import SharedServers
from tests.service import GunicornService

INSTANCES, WORKERS = 3, 2
PAIRS = ("BTC-USDC", "ETH-USDC", "SOL-USDC")
PATHS = tuple(f"/api/market/{kind}/{pair}" for kind in ("price", "orderbook") for pair in PAIRS)
ME = "/api/auth/me"
VISITOR = "root"
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


@contextmanager
def site_on(redis_url: str, folder: Path, shared_servers: SharedServers, **settings: str) -> Iterator[Site]:
    """Run three instances of two workers on *redis_url* and a HAProxy before them while the block lasts.

    Args:
        folder: empty; for what they keep.
        settings: further ones, without their SHIVX_.
    """
    env = {
        "SHIVX_REDIS_URL": redis_url,
        "SHIVX_SECRET_KEYS": "one-secret-of-all-instances-long-enough",
        "SHIVX_DATABASE_URL": f"sqlite:///{folder}/shivx.db",
        "SHIVX_TRUSTED_PROXIES": "1",
        "SHIVX_LIMIT_ANONYMOUS": str(LIMIT),
        "SHIVX_LIMIT_ADMIN": "1000000",
        "SHIVX_CACHE_MARKET_PRICE_TTL": "600",  # what is new is so because it was invalidated
        "SHIVX_CACHE_ORDERBOOK_TTL": "600",
        "SHIVX_CACHE_OP_TIMEOUT": "1",  # a busy machine is no dead Redis
        "SHIVX_DRAIN_SECONDS": str(noticing_seconds() + 3),
        **{f"SHIVX_{name}": value for name, value in settings.items()},
    }
    with ExitStack() as started:
        instances = []
        for number in range(INSTANCES):
            own = folder / str(number)
            own.mkdir()
            service = GunicornService(workers=WORKERS, env=env, folder=own)
            instances.append(started.enter_context(service))
        shared_servers.others += instances
        started.callback(lambda: [shared_servers.others.remove(each) for each in instances])
        cookie = _logged_in(instances[0])
        proxy = started.enter_context(HAProxy([each.address for each in instances]))
        shared_servers.others.append(proxy)
        started.callback(lambda: shared_servers.others.remove(proxy))
        yield Site(instances, proxy, cookie)
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


def excess(replies: list[Reply]) -> list[float]:
    """Return how many seconds less than a window there were between requests that only two windows admit."""
    admitted = served(replies, GREEDY)
    sent, ended = sorted(each.sent for each in admitted), sorted(each.ended for each in admitted)
    waits = (end - began for began, end in zip(sent, ended[LIMIT:], strict=False))
    return [WINDOW - wait for wait in waits if wait < WINDOW]


def _logged_in(service: GunicornService) -> str:
    """Make an admin's account and return the cookie of its session, as the browser sends it."""
    create = ("accounts", "create", VISITOR, "--tier", "admin", "--password-stdin")
    done = service.run("flask", *create, stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    body = json.dumps({"username": VISITOR, "password": PASSWORD}).encode()
    answer = service.send("POST", "/api/auth/login", body, {"Content-Type": "application/json"})
    (cookie,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    return f"{cookie.key}={cookie.value}"
