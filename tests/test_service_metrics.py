"""The metrics of the running service: right across its workers, whichever of them is asked."""

from __future__ import annotations

import os
import signal

import pytest

from tests.documented_metrics import undocumented
from tests.servers import RunningServer
from tests.service import GunicornService
from tests.traffic import PATIENCE, at_once, number, until_all_serve
from tests.waiting import until
from wsgi import app

pytestmark = pytest.mark.service

WORKERS = 2
CROWD = 8
PAIRS = ("BTC-USDC", "ETH-USDC", "SOL-USDC")
ROUTES = frozenset(rule.rule for rule in app.url_map.iter_rules())
SOURCES = frozenset({"simulated"})


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
@pytest.mark.parametrize("server_kind", ["redis"])
def test_all_workers_are_counted_once(own_redis_server: RunningServer, worker_class: str) -> None:
    """What was asked is what is told, of all that are and were; what is of the moment, of those that are."""
    env = {
        "SHIVX_REDIS_URL": own_redis_server.url,
        "SHIVX_SECRET_KEYS": "a-secret-that-is-long-enough-for-it",
        "SHIVX_CACHE_MARKET_PRICE_TTL": "600",
        "SHIVX_CACHE_OP_TIMEOUT": "1",  # a busy machine is no dead Redis
    }
    with GunicornService(workers=WORKERS, worker_class=worker_class, env=env) as service:
        until_all_serve(service, WORKERS)
        asked = 0
        for pair in PAIRS:
            at_once(service, f"/api/market/price/{pair}", CROWD)
            asked += CROWD
        at_once(service, "/nowhere", CROWD)

        def told(name: str, **labels: str) -> float:
            return number(service, name, **labels)

        def allowed() -> float:
            return told("rate_limit_requests_total", tier="anonymous")

        until(lambda: allowed() == asked, "all is told", PATIENCE)
        assert {allowed() for _ in range(4 * WORKERS)} == {asked}, "whoever is asked"
        assert told("cache_requests_total", cache="http") == asked
        assert told("origin_request_duration_seconds_count") == told("origin_requests_total", outcome="ok")
        assert told("cache_load_duration_seconds_count", cache="price") == len(PAIRS)
        assert told("flask_http_request_total", status="404") == CROWD
        assert told("redis_health_status") == 1
        until(lambda: told("cache_memory_bytes", layer="l1") > 0, "what L1 has is measured", PATIENCE)
        assert 'cache_evictions_total{layer="l2"} 0.0' in service.get("/metrics").body.decode(), (
            "nor is it missing"
        )
        first, other = service.worker_pids()
        os.kill(first, signal.SIGKILL)
        until(lambda: {*service.worker_pids()} - {first, other}, "another worker is there", PATIENCE)
        run = service.instance_dir / "instance/run"
        assert not [*run.glob(f"metrics-{service.pid}/gauge_live*_{first}.db")], (
            "it tells of no moment any more"
        )
        until_all_serve(service, WORKERS)
        assert (allowed(), told("cache_load_duration_seconds_count", cache="price")) == (asked, len(PAIRS))
        assert undocumented(service.get("/metrics").body.decode(), ROUTES, SOURCES) == []
