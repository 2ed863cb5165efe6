"""Explanations of two instances on one Redis: whichever worker is asked tells what any other did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.accounts_stage import PASSWORD
from tests.processes import free_port
from tests.servers import RunningServer
from tests.service import GunicornService
from tests.waiting import until

pytestmark = pytest.mark.service

WORKERS = 2
PRICE = "/api/market/price/{}-USDC"
FACT = "price:{{pair:simulated:{}-USDC}}"


class Fleet:
    """Two instances, and an admin's key."""

    def __init__(self, one: GunicornService, other: GunicornService, key: str) -> None:
        self.one = one
        self.other = other
        self.headers = {"X-API-Key": key}

    def explained(self, service: GunicornService, **asked: str) -> dict[str, Any]:
        """Return what one of the workers of *service* tells."""
        query = "&".join(f"{name}={quote(value)}" for name, value in asked.items())
        answer = service.get(f"/api/admin/cache/explain?{query}", self.headers)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def processes(self) -> set[int]:
        """Return the numbers of all workers."""
        return {*self.one.worker_pids(), *self.other.worker_pids()}


@pytest.fixture(scope="module")
def fleet(module_redis_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet; no price expires."""
    env = {
        "SHIVX_REDIS_URL": module_redis_server.url,
        "SHIVX_SECRET_KEYS": "one-secret-of-both-instances-long-enough",
        "SHIVX_DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('accounts')}/shivx.db",
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
        made = Fleet(one, other, done.stdout.strip())
        until(
            lambda: made.explained(one, key="k")["answered"] == 2 * WORKERS, "all workers hear each other", 30
        )
        yield made


def whole(fleet: Fleet, service: GunicornService, **asked: str) -> dict[str, Any]:
    """Return what is told once all workers answer in time, as they do unless the machine is very busy."""
    until(lambda: fleet.explained(service, **asked)["complete"], "all workers answer", 30)
    return fleet.explained(service, **asked)


def test_any_worker_tells_what_any_other_did(fleet: Fleet) -> None:
    """A miss and a hit, by their ids, asked of the other instance: who served them, and what they read."""
    for id, outcome in (("the-miss", "MISS"), ("the-hit", "HIT")):
        answer = fleet.one.get(PRICE.format("BTC"), {"X-Request-ID": id})
        assert (answer.status, answer.headers["X-Cache"]) == (200, outcome)
    for service in (fleet.other, fleet.one, fleet.other):
        (miss,) = fleet.explained(service, request_id="the-miss")["requests"]
        assert miss["pid"] in fleet.one.worker_pids()
        assert (miss["outcome"], miss["status"]) == ("MISS", 200)
        reads = {read["key"]: read for read in miss["reads"]}
        assert reads[FACT.format("BTC")]["outcome"] == "miss"
        assert reads[FACT.format("BTC")]["reason"] == "nothing lies there"
        (hit,) = fleet.explained(service, request_id="the-hit")["requests"]
        assert (hit["outcome"], hit["pid"] in fleet.one.worker_pids()) == ("HIT", True)


def test_each_worker_that_holds_a_key_is_told(fleet: Fleet) -> None:
    """By the other instance too; and which request of an admin made it count no more."""
    price, fact = PRICE.format("ETH"), FACT.format("ETH")
    assert fleet.one.get(price).status == 200
    told = whole(fleet, fleet.other, key=fact)
    assert (told["answered"], told["state"], told["source"]) == (2 * WORKERS, "fresh", "simulated")
    assert {copy["pid"] for copy in told["copies"]} & set(fleet.one.worker_pids())
    body = json.dumps({"tags": ["pair:simulated:ETH-USDC"]}).encode()
    headers = fleet.headers | {"X-Request-ID": "by-hand", "Content-Type": "application/json"}
    done = fleet.one.send("POST", "/api/admin/cache/invalidate", body, headers)
    assert done.status == 200, done.body
    told = whole(fleet, fleet.other, key=fact)
    assert (told["state"], told["copies"]) == ("invalidated", [])
    assert told["why"].startswith("the tag pair:simulated:ETH-USDC was invalidated")
    last = told["last_invalidation"]
    assert (last["reason"], last["pid"] in fleet.one.worker_pids()) == ("admin request by-hand", True)


def test_a_path_is_explained_on_the_host_that_is_asked(fleet: Fleet) -> None:
    """The two instances are two hosts to their clients, so two responses; the price in them is one."""
    price = PRICE.format("SOL")
    assert fleet.one.get(price).status == 200
    assert whole(fleet, fleet.one, path=price)["state"] == "fresh"
    assert whole(fleet, fleet.other, path=price)["state"] == "absent"


def test_the_command_tells_the_same(fleet: Fleet) -> None:
    """As JSON and as lines, of keys and of requests; nonsense is exit status 2."""
    fact = FACT.format("BTC")
    assert fleet.one.get(PRICE.format("BTC"), {"X-Request-ID": "for-the-command"}).status == 200
    asked = fleet.other.run("flask", "cache", "explain", fact, "--json")
    told = json.loads(asked.stdout)
    assert (told["state"], told["key"]) == ("fresh", fact), asked.stderr
    assert {copy["pid"] for copy in told["copies"]} <= fleet.processes()
    lines = fleet.other.run("flask", "cache", "explain", fact).stdout.splitlines()
    assert lines[0] == f"{fact}: fresh"
    assert any(line.startswith("  tag       pair:simulated:BTC-USDC: current (made under ") for line in lines)
    lines = fleet.other.run(
        "flask", "cache", "explain", "--request-id", "for-the-command"
    ).stdout.splitlines()
    assert lines[0] == "for-the-command: 1 requests"
    assert fleet.one.run("flask", "cache", "explain").returncode == 2
    assert fleet.one.run("flask", "cache", "explain", "k", "--request-id", "x").returncode == 2


def test_the_command_says_so_if_redis_is_away(fleet: Fleet) -> None:
    """Exit status 1, and what is not known."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    asked = fleet.one.run("flask", "cache", "explain", "k", env={"SHIVX_REDIS_URL": url})
    assert (asked.returncode, asked.stdout.splitlines()[0]) == (1, "k: unknown")
    assert "not complete: Redis does not answer" in asked.stderr
    assert "Traceback" not in asked.stderr
