"""What is drilled: the service with four workers, and what stands behind and before it, all real."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.course import MIX, Bots
from benchmarks.drill.judging import Change
from benchmarks.drill.truth import Loopback, Simulated, Truth
from benchmarks.felt import key_of
from benchmarks.many_pairs import LISTED
from benchmarks.market_site import port_of, trained
from cache_ext.testing import FaultProxy
from tests.exchange_server import ExchangeServer
from tests.fault_stage import SteppableServer
from tests.haproxy import HAProxy, noticing_seconds
from tests.sentinels import Sentinels
from tests.servers import RunningServer
from tests.service import ROOT, GunicornService
from tests.small_disk import SmallDisk

WORKERS, FLEET = 4, (2, 1, 1)
"""Workers of an instance alone, and of each of three."""
PAIRS = LISTED[:10]
ABROAD = ("BTC-USDC", "ETH-USDC", "SOL-USDC")
"""Pairs of the loopback exchange, which is metered as the real one is."""
MIX_ABROAD = tuple(MIX.items())[:3]
"""The loopback exchange has no models."""


@dataclass
class Site:
    """What runs.

    Args:
        port: that clients ask.
        services: all instances; the first one is told of events.
        key: of an account that may tell of events.
        bots: what clients ask for.
        truth: what the exchange knows.
        source: the name of the exchange.
        redis: the server behind them, and `line`, how they come to it, where there is one.
    """

    port: int
    services: list[GunicornService]
    key: str
    bots: Bots
    truth: Truth
    source: str = "simulated"
    redis: RunningServer | None = None
    line: FaultProxy | None = None
    sentinels: Sentinels | None = None
    exchange: ExchangeServer | None = None
    disk: SmallDisk | None = None
    proxy: HAProxy | None = None
    folder: Path = field(default_factory=Path)
    again: Callable[[int, Path], GunicornService] | None = None
    changes: list[Change] = field(default_factory=list)
    """Events that were told."""

    @property
    def service(self) -> GunicornService:
        """The first instance."""
        return self.services[0]


@contextmanager
def plain() -> Iterator[Site]:
    """The service on one server, reached by a line that can be cut."""
    with ExitStack() as stack:
        redis = _server(stack)
        line = stack.enter_context(FaultProxy(redis.url))
        site = stack.enter_context(served(line.url))
        site.redis, site.line = redis, line
        yield site


@contextmanager
def watched() -> Iterator[Site]:
    """The service on a primary that sentinels watch."""
    sentinels = Sentinels()
    try:
        with served(sentinels.url) as site:
            site.sentinels = sentinels
            yield site
    finally:
        sentinels.close()


@contextmanager
def abroad() -> Iterator[Site]:
    """The service on an exchange that can fail."""
    with ExitStack() as stack:
        redis = _server(stack)
        exchange = ExchangeServer("binance")
        site = stack.enter_context(
            served(
                redis.url,
                model=False,
                MARKET_SOURCE="ccxt:binance",
                MARKET_SOURCE_URL=exchange.url,
                MARKET_TIMEOUT="2",
            )
        )
        site.bots, site.truth, site.source = Bots(ABROAD, mix=MIX_ABROAD), Loopback(), "binance"
        site.redis, site.exchange = redis, exchange
        try:
            yield site
        finally:
            site.exchange.close()  # another one, if it was down meanwhile


@contextmanager
def cramped() -> Iterator[Site]:
    """The service whose accounts are on a disk that can be filled."""
    with ExitStack() as stack:
        redis, folder = _server(stack), Path(tempfile.mkdtemp(prefix="shivx-drill-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder)
        disk = SmallDisk(folder)
        stack.callback(disk.close)
        site = stack.enter_context(served(redis.url, DATABASE_URL=f"sqlite:///{folder}/shivx.db"))
        site.redis, site.disk = redis, disk
        yield site


@contextmanager
def clockwork() -> Iterator[Site]:
    """The service on a Redis whose wall clock can be set."""
    with ExitStack() as stack:
        redis = SteppableServer("valkey")
        stack.callback(redis.close)
        site = stack.enter_context(served(redis.url))
        site.redis = redis
        yield site


@contextmanager
def fleet() -> Iterator[Site]:
    """Three instances, four workers in all, behind HAProxy; clients have one address there, so no limit."""
    with ExitStack() as stack:
        redis, folder = _server(stack), Path(tempfile.mkdtemp(prefix="shivx-drill-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder)
        services: list[GunicornService] = []

        def again(number: int, root: Path) -> GunicornService:
            bind = services[number].address if len(services) > number else None
            own = folder / str(number)
            own.mkdir(exist_ok=True)
            return instance(redis.url, own, FLEET[number], root=root, bind=bind, **_together(folder))

        stack.callback(_end, services)
        for number in range(len(FLEET)):
            services.append(again(number, ROOT))
            services[-1].start()
            trained(services[-1])
        proxy = stack.enter_context(HAProxy([each.address for each in services]))
        bots = Bots(PAIRS)
        site = Site(proxy.port, services, key_of(services[0]), bots, Simulated(), redis=redis, proxy=proxy)
        site.folder, site.again = folder, again
        yield site


def _end(services: list[GunicornService]) -> None:
    for each in services:
        each.signal(signal.SIGTERM)  # the second one, of its end, ends its drain
    for each in services:
        each.stop()


def _together(folder: Path) -> dict[str, str]:
    """Return the settings of instances that share accounts, and are drained before they end."""
    return {
        "DATABASE_URL": f"sqlite:///{folder}/shivx.db",
        "LIMIT_ANONYMOUS": "1000000",
        "DRAIN_SECONDS": str(round(noticing_seconds()) + 1),
    }


@contextmanager
def served(redis_url: str, *, model: bool = True, **settings: str) -> Iterator[Site]:
    """Run one instance of four workers on the simulated exchange, its folder a new one."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="shivx-drill-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder)
        service = stack.enter_context(instance(redis_url, folder, WORKERS, **settings))
        if model:
            trained(service)
        yield Site(port_of(service), [service], key_of(service), Bots(PAIRS), Simulated())


def instance(
    redis_url: str,
    folder: Path,
    workers: int,
    *,
    root: Path = ROOT,
    bind: str | None = None,
    **settings: str,
) -> GunicornService:
    """Return an instance of the service, not started, that takes itself to be behind a proxy.

    Args:
        root: where its program is.
        settings: further ones, without their ``SHIVX_``.
    """
    variables: dict[str, str | None] = {
        "SHIVX_REDIS_URL": redis_url,
        "SHIVX_SECRET_KEYS": "one-secret-of-all-instances-long-enough",
        "SHIVX_TRUSTED_PROXIES": "1",
        "SHIVX_LIMIT_ANONYMOUS": None,
        **{f"SHIVX_{name}": value for name, value in settings.items()},
    }
    return GunicornService(workers=workers, env=variables, folder=folder, bind=bind, root=root)


def _server(stack: ExitStack) -> RunningServer:
    server = RunningServer("valkey")
    stack.callback(server.close)
    return server
