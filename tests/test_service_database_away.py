"""PostgreSQL goes and comes back while the service runs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from cache_ext import TieredCache
from shivx.identity import Tier
from tests.accounts_stage import PASSWORD, Office
from tests.postgres import PostgresServer
from tests.service import Answer, GunicornService
from tests.traffic import PRICE
from tests.waiting import until

pytestmark = pytest.mark.service

LOGIN = "/api/auth/login"


def log_in(service: GunicornService) -> Answer:
    """Log alice in."""
    body = json.dumps({"username": "alice", "password": PASSWORD}).encode()
    return service.send("POST", LOGIN, body, {"Content-Type": "application/json"})


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_what_needs_the_database_waits_for_it_and_nothing_else_does(
    own_postgres_server: PostgresServer, make_cache: Callable[..., TieredCache], worker_class: str
) -> None:
    """Prices for all, and for keys known of late; unknown keys and logging in get 503 and are told when."""
    url = own_postgres_server.url(own_postgres_server.new_database())
    with Office(make_cache(), url) as office:
        office.database.upgrade()
        alice = office.accounts.create("alice", Tier.PREMIUM, PASSWORD)
        known, unknown = (office.keys.create(alice.id, name).text for name in ("known", "unknown"))

    def status(key: str | None, path: str = PRICE) -> int:
        return service.get(path, {} if key is None else {"X-API-Key": key}).status

    with GunicornService(worker_class=worker_class, env={"SHIVX_DATABASE_URL": url}) as service:
        assert [status(None), status(known), log_in(service).status] == [200, 200, 200]
        own_postgres_server.stop()
        assert [status(None), status(known)] == [200, 200]
        for refused in (service.get(PRICE, {"X-API-Key": unknown}), log_in(service)):
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) >= 1
        assert status(None) == 200
        own_postgres_server.start()
        until(lambda: status(unknown) == 200, "the key is found again")
        assert log_in(service).status == 200
        own_postgres_server.stop()
        own_postgres_server.start()
        assert log_in(service).status == 200, "who asks after a restart meets no dead connection"
        assert "Traceback" not in service.log
