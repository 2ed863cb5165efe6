"""Redis dies or hangs while the service serves: answers go on, in time, and all is well when it is back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.servers import RunningServer
from tests.service import GunicornService
from tests.traffic import (
    PATIENCE,
    PRICE,
    at_once,
    failures,
    health,
    number,
    steady,
    until_all_serve,
    until_seen,
)
from tests.waiting import until

pytestmark = [pytest.mark.service, pytest.mark.parametrize("server_kind", ["valkey"])]

ENOUGH = 100  # requests
# Seconds that no request exceeds. Redis costs it 0.1; if a Redis that hung grants a lease to somebody who has
# given up waiting for it, the next ones wait for a second, until it is given back. The rest: a busy machine.
SLOW = 4.0
UNSEEN = "/api/market/orderbook/ETH-USDC"  # nobody has asked for it, so only the exchange can tell

Fault = Callable[[RunningServer], None]


def environment(server: RunningServer) -> dict[str, str]:
    """Settings that name a Redis of one's own, and let prices live for a second."""
    return {
        "SHIVX_REDIS_URL": server.url,
        "SHIVX_SECRET_KEYS": "a-key-for-nothing-but-this-test-long-enough",
        "SHIVX_CACHE_MARKET_PRICE_TTL": "1",
    }


@pytest.mark.parametrize(
    ("worker_class", "fault", "repair"),
    [
        ("gevent", RunningServer.kill, RunningServer.start),
        ("gevent", RunningServer.pause, RunningServer.resume),
        ("gthread", RunningServer.pause, RunningServer.resume),
    ],
    ids=["gevent-dead", "gevent-hangs", "gthread-hangs"],
)
def test_answers_go_on_while_redis_is_away(
    own_redis_server: RunningServer, worker_class: str, fault: Fault, repair: Fault
) -> None:
    """Every request gets its 200 in time; health says degraded meanwhile, and healthy again afterwards."""
    env = environment(own_redis_server)
    with GunicornService(workers=2, worker_class=worker_class, env=env) as service:
        until_all_serve(service, 2)
        assert "healthy" in health(service)
        with steady(service) as seen:
            fault(own_redis_server)
            until(lambda: "degraded" in health(service), "it notices", PATIENCE)
            until_seen(seen, ENOUGH)
            assert service.get(UNSEEN).status == 200
            assert "degraded" in health(service)
            repair(own_redis_server)
            until_all_serve(service, 2)
            until(lambda: "healthy" in health(service), "it notices", PATIENCE)
            until_seen(seen, ENOUGH)
        assert failures(seen) == []
        assert max(each.seconds for each in seen) < SLOW


def test_service_starts_without_redis_and_finds_it_later(own_redis_server: RunningServer) -> None:
    """A Redis that is down delays no start; once it is up the service uses it."""
    own_redis_server.stop()
    with GunicornService(workers=2, env=environment(own_redis_server)) as service:
        answer = service.get(PRICE)
        assert (answer.status, answer.headers["X-Cache"]) == (200, "MISS")
        assert "degraded" in health(service)
        own_redis_server.start()
        until_all_serve(service, 2)
        until(lambda: "healthy" in health(service), "it notices", PATIENCE)
        assert service.get(PRICE).status == 200


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_crowd_costs_one_origin_call_without_redis_too(
    own_redis_server: RunningServer, worker_class: str
) -> None:
    """With Redis down, a hundred clients of four workers make one call of the exchange for one book."""
    own_redis_server.stop()
    env = environment(own_redis_server) | {"SHIVX_SIMULATED_LATENCY": "0.2"}
    with GunicornService(workers=4, worker_class=worker_class, env=env) as service:
        until(lambda: number(service, "redis_circuit_state") == 4, "all workers serve", PATIENCE)
        answers = at_once(service, UNSEEN, ENOUGH)
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1
        assert number(service, "origin_requests_total", source="simulated") == 2, "the catalogue and the book"
