"""The stats of two instances of two workers on one Redis, against the requests that were made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.accounts_stage import PASSWORD
from tests.servers import RunningServer
from tests.service import GunicornService
from tests.traffic import PATIENCE, at_once
from tests.waiting import until

pytestmark = pytest.mark.service

WORKERS = 2
PATH = "/api/admin/cache/stats"
PAIRS = ("BTC-USDC", "ETH-USDC", "SOL-USDC")
CROWD = 8


class Fleet:
    """Two instances, and an admin's key."""

    def __init__(self, one: GunicornService, other: GunicornService, key: str) -> None:
        self.one = one
        self.other = other
        self._headers = {"X-API-Key": key}

    def stats(self, service: GunicornService) -> dict[str, Any]:
        """Return what one of the workers of *service* answers."""
        answer = service.get(PATH, self._headers)
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store"), answer.body
        found: dict[str, Any] = json.loads(answer.body)
        return found


@pytest.fixture(scope="module")
def fleet(module_redis_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet; nothing is warmed, and no price expires."""
    env = {
        "SHIVX_REDIS_URL": module_redis_server.url,
        "SHIVX_SECRET_KEYS": "one-secret-of-both-instances-long-enough",
        "SHIVX_DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('accounts')}/shivx.db",
        "SHIVX_CACHE_WARMING_ENABLED": "false",
        "SHIVX_CACHE_MARKET_PRICE_TTL": "600",
        "SHIVX_CACHE_OP_TIMEOUT": "1",  # a busy machine is no dead Redis
    }
    with (
        GunicornService(workers=WORKERS, env=env) as one,
        GunicornService(workers=WORKERS, env=env) as other,
    ):
        create = ("create", "root", "--tier", "admin", "--password-stdin")
        for words in (create, ("keys", "create", "root", "--scope", "admin")):
            done = one.run("flask", "accounts", *words, stdin=f"{PASSWORD}\n")
            assert done.returncode == 0, done.stderr
        yield Fleet(one, other, done.stdout.strip())


def reads(told: dict[str, Any]) -> int:
    """Return how many reads were counted, whatever came of them."""
    return sum(told["hits"].values()) + told["misses"] + told["stale"] + told["errors"]


def test_all_workers_of_all_instances_are_counted_once(fleet: Fleet) -> None:
    """What each request did is in the figures of whoever is asked, a moment later, and stays what it is."""
    for service in (fleet.one, fleet.other):
        for pair in PAIRS:
            assert {each.status for each in at_once(service, f"/api/market/price/{pair}", CROWD)} == {200}
    made = 2 * CROWD * len(PAIRS)
    until(lambda: reads(fleet.stats(fleet.one)["caches"]["http"]) >= made, "all is told", PATIENCE)
    for service in (fleet.one, fleet.other, fleet.one):
        told = fleet.stats(service)
        assert (told["complete"], len(told["processes"])) == (True, 2 * WORKERS)
        http, price = told["caches"]["http"], told["caches"]["price"]
        assert reads(http) == made
        assert price["loads"]["count"] == len(PAIRS)
        assert http["hit_rate"]["60"] == pytest.approx(sum(http["hits"].values()) / made, abs=1e-4)
        assert sum(told["circuit"].values()) == 2 * WORKERS
        assert told["redis"]["role"] == "master"
        assert "maxmemory" in [each["setting"] for each in told["recommendations"]]
        assert (price["keys"], told["keys_share"]) == (len(PAIRS), 1.0)


def test_connections_and_backplanes_of_all_are_added_up(fleet: Fleet) -> None:
    """Each process says what its pool holds and may hold, and that it hears of invalidations, within 1 s."""
    until(lambda: fleet.stats(fleet.one)["backplane"]["live"] == 2 * WORKERS, "all listen", PATIENCE)
    told = fleet.stats(fleet.other)
    assert told["backplane"] == {"bound_seconds": 1.0, "live": 2 * WORKERS, "deaf": 0}
    members, pool = told["processes"], told["pool"]
    assert {(each["listens"], each["hears"], each["pool_max"]) for each in members} == {(True, True, 50)}
    assert pool["max"] == 2 * WORKERS * 50
    assert pool["used"] == sum(each["pool_used"] for each in members) >= 0
    assert pool["idle"] == sum(each["pool_idle"] for each in members)
    assert (
        2 * WORKERS <= pool["used"] + pool["idle"] <= told["redis"]["clients"] <= told["redis"]["max_clients"]
    )


def test_the_command_tells_the_same_and_is_no_process_of_the_service(fleet: Fleet) -> None:
    """As lines and as JSON."""
    asked = fleet.one.run("flask", "cache", "stats", "--json")
    assert asked.returncode == 0, asked.stderr
    told, answered = json.loads(asked.stdout), fleet.stats(fleet.one)
    assert reads(told["caches"]["http"]) == reads(answered["caches"]["http"])
    assert len(told["processes"]) == len(answered["processes"]) == 2 * WORKERS
    lines = fleet.one.run("flask", "cache", "stats").stdout.splitlines()
    assert lines[0].startswith("processes 4, circuit: ")
    row, _ = (line.split() for line in lines if line.startswith("http "))
    http = answered["caches"]["http"]
    assert row[1:4] == [str(http["hits"]["l1"]), str(http["hits"]["l2"]), str(http["misses"])]
