"""Events posted to one gunicorn instance: what they change is gone in every worker of another as well."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.caches import connected
from tests.service import GunicornService
from tests.traffic import at_once, until_all_serve
from tests.waiting import until

pytestmark = pytest.mark.service

WORKERS = 2
CROWD = 8 * WORKERS  # at once, so that every worker answers some
BOUND = 1.0 + 2.0  # seconds: the staleness bound, and slack for a busy machine
PRICES = {pair: f"/api/market/price/{pair}" for pair in ("SOL-USDC", "BTC-USDC")}


@pytest.fixture
def fleet(own_redis_server: Any, tmp_path: Any) -> Iterator[list[GunicornService]]:
    """Two instances of two workers on one Redis, with one database; prices outlive the tests."""
    env = {
        "SHIVX_REDIS_URL": own_redis_server.url,
        "SHIVX_SECRET_KEYS": "one-secret-of-both-instances-long-enough",
        "SHIVX_DATABASE_URL": f"sqlite:///{tmp_path}/shivx.db",
        "SHIVX_CACHE_MARKET_PRICE_TTL": "600",
    }
    with (
        GunicornService(workers=WORKERS, env=env) as one,
        GunicornService(workers=WORKERS, env=env) as other,
    ):
        for each in (one, other):
            until_all_serve(each, WORKERS)
        yield [one, other]


def key_of_a_bot(service: GunicornService) -> str:
    """Make a service account by command; return a key of it."""
    for words in (("create", "bot", "--tier", "service"), ("keys", "create", "bot")):
        done = service.run("flask", "--app", "wsgi", "accounts", *words)
        assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def post(service: GunicornService, key: str, **event: str) -> Any:
    """Post an event; return the tags that it invalidated."""
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    answer = service.send("POST", "/api/events", json.dumps(event).encode(), headers)
    assert answer.status == 202, answer.body
    return json.loads(answer.body)["invalidated"]


def received(fleet: list[GunicornService], pair: str) -> set[str]:
    """Ask all workers for the price; return when what they serve came from the exchange."""
    return {
        json.loads(answer.body)["received_at"]
        for service in fleet
        for answer in at_once(service, PRICES[pair], CROWD)
    }


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_an_event_counts_in_every_worker_of_every_instance(
    fleet: list[GunicornService], make_cache, own_redis_server
) -> None:
    """The other pair's price stays; an id counts once; killed workers change nothing; programs emit too."""
    one, other = fleet
    key = key_of_a_bot(one)
    (sol,), (btc,) = received(fleet, "SOL-USDC"), received(fleet, "BTC-USDC")
    assert post(one, key, type="trade_executed", pair="SOL-USDC", id="t-1") == ["pair:simulated:SOL-USDC"]
    until(lambda: sol not in received(fleet, "SOL-USDC"), "no worker serves the old price", BOUND)
    (sol,) = received(fleet, "SOL-USDC")
    assert post(other, key, type="trade_executed", pair="SOL-USDC", id="t-1") == []
    for pid in other.worker_pids():
        os.kill(pid, signal.SIGKILL)
    until_all_serve(other, WORKERS)
    assert received(fleet, "SOL-USDC") == {sol}
    assert received(fleet, "BTC-USDC") == {btc}
    program = connected(make_cache(own_redis_server.url, namespace="shivx"))  # it has no rules
    program.hooks.emit("trade_executed", {"pair": "BTC-USDC"})
    until(lambda: btc not in received(fleet, "BTC-USDC"), "no worker serves the old price", BOUND)
    assert received(fleet, "SOL-USDC") == {sol}
