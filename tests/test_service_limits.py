"""Limits of the whole service under gunicorn: one quota for all workers, with Redis and without."""

from __future__ import annotations

import pytest

from tests.caches import all_at_once
from tests.servers import RunningServer
from tests.service import GunicornService
from tests.traffic import PRICE, number, until_all_serve
from tests.waiting import until

pytestmark = [pytest.mark.service, pytest.mark.parametrize("server_kind", ["valkey"])]

LIMIT = 30
WORKERS = 3
CLIENTS = 8
EACH = 10


def statuses(service: GunicornService, address: str) -> list[int]:
    """Return the statuses of many requests from *address*, by clients at once."""

    def ask(_: int) -> list[int]:
        return [service.get(PRICE, {"X-Forwarded-For": address}).status for _ in range(EACH)]

    return [status for each in all_at_once(CLIENTS, ask) for status in each]


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_workers_share_one_quota_with_redis_and_without(
    own_redis_server: RunningServer, worker_class: str
) -> None:
    """An address gets its limit from all workers together; likewise from the host when Redis is gone."""
    env = {
        "SHIVX_REDIS_URL": own_redis_server.url,
        "SHIVX_SECRET_KEYS": "k" * 32,
        "SHIVX_LIMIT_ANONYMOUS": str(LIMIT),
        "SHIVX_TRUSTED_PROXIES": "1",
        "SHIVX_CACHE_OP_TIMEOUT": "2",
    }
    with GunicornService(workers=WORKERS, worker_class=worker_class, env=env) as service:

        def counted(outcome: str) -> float:
            return number(service, "rate_limit_requests_total", outcome=outcome)

        until_all_serve(service, WORKERS)
        seen = statuses(service, "203.0.113.1")
        assert (seen.count(200), seen.count(429)) == (LIMIT, CLIENTS * EACH - LIMIT)
        until(lambda: counted("allowed") == LIMIT, "all that were allowed are counted")
        own_redis_server.kill()
        seen = statuses(service, "203.0.113.2")
        assert (seen.count(200), seen.count(429)) == (LIMIT, CLIENTS * EACH - LIMIT)
        assert set(statuses(service, "203.0.113.1")) == {429}
        until(lambda: counted("allowed_alone") == LIMIT, "all that were allowed are counted")
        own_redis_server.start()
        until_all_serve(service, WORKERS)
        assert set(statuses(service, "203.0.113.2")) == {429}
        refused = service.get(PRICE, {"X-Forwarded-For": "203.0.113.2"})
        assert int(refused.headers["Retry-After"]) <= 62
