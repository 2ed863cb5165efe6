"""Ending a service: balancers are told, what is under way is finished, and until the end all is answered."""

from __future__ import annotations

import signal
from concurrent.futures import Future
from pathlib import Path

import pytest

from cache_ext.keys import KeySpace
from tests.caches import begin
from tests.servers import RunningServer
from tests.service import Answer, GunicornService
from tests.waiting import until

pytestmark = pytest.mark.service

PATIENCE = 30.0
ORIGIN_SECONDS = 0.7
LONG = 600.0  # seconds, of a drain that the test ends
NAMESPACE = "draining"
PAIRS, PRICE = "/api/market/pairs", "/api/market/price/{}-USDC"


def settings(redis: RunningServer, drain: float) -> dict[str, str]:
    """Return those of a service whose origin takes its time."""
    return {
        "SHIVX_REDIS_URL": redis.url,
        "SHIVX_SECRET_KEYS": "s" * 32,
        "SHIVX_CACHE_NAMESPACE": NAMESPACE,
        "SHIVX_CACHE_OP_TIMEOUT": "1",
        "SHIVX_SIMULATED_LATENCY": str(ORIGIN_SECONDS),
        "SHIVX_DRAIN_SECONDS": str(drain),
    }


def under_way(service: GunicornService, redis: RunningServer, pair: str) -> Future[Answer]:
    """Begin to ask for the price of *pair*; return its answer to come once the origin is being asked."""
    asked = begin(lambda: service.get(PRICE.format(pair)))
    lease = KeySpace(NAMESPACE).lease(f"price:{{pair:simulated:{pair}-USDC}}")
    until(lambda: redis.ask(f"EXISTS {lease}") == b":1", "the origin is asked", PATIENCE)
    return asked


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_a_drain_serves_all_and_tells_balancers(
    module_redis_server: RunningServer, tmp_path: Path, worker_class: str
) -> None:
    """After TERM: 503 from /readyz, answers for old and new requests; a second TERM ends the drain."""
    module_redis_server.ask("FLUSHALL")
    env = settings(module_redis_server, LONG)
    with GunicornService(worker_class=worker_class, env=env, folder=tmp_path) as service:
        assert [service.get(path).status for path in ("/readyz", PAIRS)] == [200, 200]
        early = under_way(service, module_redis_server, "BTC")
        service.signal(signal.SIGTERM)
        until(lambda: service.get("/readyz").status == 503, "balancers are told", PATIENCE)
        ready = service.get("/readyz")
        assert (ready.body.strip(), ready.headers["Cache-Control"]) == (b'{"status":"draining"}', "no-store")
        assert service.get("/healthz").status == 200
        assert service.get(PRICE.format("ETH")).status == 200, "a new connection during the drain"
        assert early.result(PATIENCE).status == 200, "what was under way when it was told to end"
        service.signal(signal.SIGTERM)
        until(lambda: not service.running, "it has ended", PATIENCE)


def test_a_drain_ends_by_itself(module_redis_server: RunningServer, tmp_path: Path) -> None:
    """When its time is over, and not before it has begun."""
    with GunicornService(env=settings(module_redis_server, 0.5), folder=tmp_path) as service:
        service.signal(signal.SIGTERM)
        until(lambda: not service.running, "it has ended", PATIENCE)
        assert "Draining for 0.5 s" in service.log


def test_what_is_under_way_at_the_end_of_the_drain_is_finished(
    module_redis_server: RunningServer, tmp_path: Path
) -> None:
    """It has seconds more, and no sign of the drain stays."""
    module_redis_server.ask("FLUSHALL")
    env = settings(module_redis_server, LONG)
    with GunicornService(env=env, folder=tmp_path) as service:
        assert service.get(PAIRS).status == 200
        service.signal(signal.SIGTERM)
        until(lambda: service.get("/readyz").status == 503, "it drains", PATIENCE)
        last = under_way(service, module_redis_server, "SOL")
        service.signal(signal.SIGTERM)
        assert last.result(PATIENCE).status == 200
        until(lambda: not service.running, "it has ended", PATIENCE)
    assert list((tmp_path / "instance" / "run").glob("draining-*")) == []
