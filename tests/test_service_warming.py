"""Warming in the running service: once for all workers that start, while they serve; and as a job."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shivx.jobs.record import Status
from tests.accounts_stage import PASSWORD
from tests.exchange_server import ExchangeServer
from tests.model_stage import activate
from tests.open_loop import OpenLoop, Stream
from tests.processes import processes
from tests.servers import RunningServer
from tests.service import Answer, GunicornService
from tests.waiting import until

pytestmark = pytest.mark.service

WORKERS = 2
WARM = 120.0  # seconds: some on an idle machine, and the process gives way on a busy one
PATHS = (
    "/api/market/price/{}",
    "/api/market/orderbook/{}",
    "/api/market/ohlcv/{}",
    "/api/indicators/{}",
    "/api/ml/predict/{}",
)
SLOW = {"SHIVX_SIMULATED_LATENCY": "2"}
PATIENCE = 10.0  # seconds, for one answer of a busy machine
SLOT, SAVED_UP = 0.1, 3  # seconds between calls of the exchange; those that are free at first
SECRET = "warming-tests-secret-of-32-characters-or-more"


@pytest.fixture
def server_kind() -> str:
    """Which server keeps it makes no difference."""
    return "valkey"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with both models trained."""
    for name, probabilities in (("direction", (0.2, 0.3, 0.5)), ("volatility", (0.5, 0.3, 0.2))):
        activate(tmp_path, name, probabilities)
    return tmp_path


@pytest.fixture
def env(redis_server: RunningServer, models: Path) -> dict[str, str]:
    """A service that warms when it starts, on a slow exchange, with facts that stay long enough to be met."""
    return {
        "SHIVX_REDIS_URL": redis_server.url,
        "SHIVX_SECRET_KEYS": SECRET,
        "SHIVX_MODEL_DIR": str(models),
        "SHIVX_CACHE_WARMING_ENABLED": "true",
        "SHIVX_WARM_PAIRS": "BTC-USDC,SOL-USDC",
        "SHIVX_SIMULATED_LATENCY": "0.2",
        "SHIVX_CACHE_MARKET_PRICE_TTL": "600",
        "SHIVX_CACHE_ORDERBOOK_TTL": "600",
    }


@pytest.fixture
def service(env: dict[str, str]) -> Iterator[GunicornService]:
    """It, running."""
    with GunicornService(workers=WORKERS, env=env) as started:
        yield started


def jobs(server: RunningServer) -> list[dict[bytes, bytes]]:
    """Return the records of all warmings."""
    with redis.Redis.from_url(server.url) as client:
        return [client.hgetall(key) for key in client.scan_iter(match="*:job:warm-*")]


def is_over(server: RunningServer) -> bool:
    """Tell whether a warming has ended well."""
    return [found[b"status"] for found in jobs(server)] == [Status.SUCCEEDED.value.encode()]


def test_the_first_client_of_a_service_hits(service: GunicornService, redis_server: RunningServer) -> None:
    """One worker of two has it done, in a process of its own; who asks either is answered from the cache.

    That the service is ready was seen before: it does not wait for it.
    """
    until(lambda: is_over(redis_server), "it is warm", WARM)
    result = json.loads(jobs(redis_server)[0][b"result"])
    assert (result["pairs"], result["loaded"], result["skipped"], result["failed"]) == (2, 12, 0, [])
    for pair in ("BTC-USDC", "SOL-USDC"):
        for path in PATHS:
            answer = service.get(path.format(pair))
            assert (answer.status, answer.headers["X-Cache"]) == (200, "HIT"), path
    assert service.get("/api/market/price/ETH-USDC").headers["X-Cache"] == "MISS"


def test_what_was_hot_before_a_restart_is_warm_after_it(
    env: dict[str, str], redis_server: RunningServer
) -> None:
    """Of the pairs that nobody set, those that were read: by workers that have ended since."""
    with GunicornService(workers=WORKERS, env=env | {"SHIVX_CACHE_WARMING_ENABLED": "false"}) as before:
        for _ in range(20):
            assert before.get("/api/market/price/AVAX-USDC").status == 200
    with GunicornService(workers=WORKERS, env=env) as after:
        until(lambda: is_over(redis_server), "it is warm", WARM)
        assert json.loads(jobs(redis_server)[0][b"result"])["pairs"] == 3
        assert after.get("/api/indicators/AVAX-USDC").headers["X-Cache"] == "HIT"


def until_under_way(server: RunningServer) -> bytes:
    """Wait until a warming has said that it runs, and return its id."""
    until(lambda: statuses(server) == [Status.RUNNING.value.encode()], "one is under way", WARM)
    with redis.Redis.from_url(server.url) as client:
        (key,) = client.scan_iter(match="*:job:warm-*")
    return bytes(key.rpartition(b":job:")[2])


def statuses(server: RunningServer) -> list[bytes]:
    """Return what is known of each warming."""
    return [found[b"status"] for found in jobs(server)]


def process_of(job: bytes) -> int:
    """Return the process of *job*."""
    (found,) = [each.pid for each in processes() if f"--job {job.decode()}" in each.command]
    return found


def test_one_that_is_killed_is_replaced(env: dict[str, str], redis_server: RunningServer) -> None:
    """Its record stays as it was; another is begun, and comes to its end, once."""
    with GunicornService(workers=WORKERS, env=env | SLOW) as service:
        os.kill(process_of(until_under_way(redis_server)), signal.SIGKILL)
        until(lambda: Status.SUCCEEDED.value.encode() in statuses(redis_server), "it is warm", WARM)
        assert sorted(statuses(redis_server)) == [b"running", b"succeeded"]
        assert service.get("/api/indicators/BTC-USDC").headers["X-Cache"] == "HIT"


def test_a_service_that_is_started_again_at_once_is_warm(
    env: dict[str, str], redis_server: RunningServer
) -> None:
    """The warming of the one before ended with it, half done, and does not count."""
    with GunicornService(workers=WORKERS, env=env | SLOW):
        until_under_way(redis_server)
    with GunicornService(workers=WORKERS, env=env) as service:
        until(lambda: sorted(statuses(redis_server)) == [b"failed", b"succeeded"], "it is warm", WARM)
        assert service.get("/api/indicators/SOL-USDC").headers["X-Cache"] == "HIT"


def test_clients_meanwhile_are_served_and_each_fact_is_loaded_once(
    env: dict[str, str], redis_server: RunningServer
) -> None:
    """Who asks for what is just being warmed gets it from the one call; all calls go through the meter."""
    paths = tuple(path.format(pair) for path in PATHS[:4] for pair in ("BTC-USDC", "SOL-USDC"))
    with ExchangeServer("coinbaseexchange") as exchange:
        changes = {"SHIVX_MARKET_SOURCE": "ccxt:coinbaseexchange", "SHIVX_MARKET_SOURCE_URL": exchange.url}
        with GunicornService(workers=WORKERS, env=env | changes) as service:
            assert not is_over(redis_server)  # the service is ready, and did not wait for it
            until_under_way(redis_server)
            port = int(service.address.rpartition(":")[2])
            with OpenLoop(port, [Stream(50.0, paths, f"127.0.0.{each}") for each in (2, 3)]) as clients:
                until(lambda: is_over(redis_server), "it is warm", WARM)
            assert {reply.status for reply in clients.replies} == {200}
            late = [reply for reply in clients.replies if reply.ended - reply.sent > PATIENCE]
            assert late == []
        asked = Counter((path, *sorted(query.items())) for path, query in exchange.queries)
        assert [what for what, times in asked.items() if times > 1] == []
        lasted = exchange.times[-1] - exchange.times[0]
        assert len(exchange.times) <= SAVED_UP + 1 + lasted / SLOT


def test_an_admin_has_pairs_warmed(service: GunicornService, redis_server: RunningServer) -> None:
    """202 and a job that any worker tells of; what is no pair is refused, and a second one meanwhile."""
    until(lambda: is_over(redis_server), "it is warm", WARM)
    words = ("flask", "--app", "wsgi", "accounts")
    service.run(*words, "create", "root", "--tier=admin", "--password-stdin", stdin=PASSWORD)
    told = service.run(*words, "keys", "create", "root", "--name=k", "--scope=admin").stdout
    found = re.search(r"shx_\S+", told)
    assert found is not None
    headers = {"X-API-Key": found[0], "Content-Type": "application/json"}

    def warm(body: str) -> Answer:
        return service.send("POST", "/api/admin/cache/warm", body.encode(), headers)

    assert [warm(body).status for body in ('{"pairs": ["BTC"]}', '{"pairs": []}', '{"pear": 1}')] == [400] * 3
    begun = warm('{"pairs": ["ETH-USDC", "NO-PAIR"]}')
    assert begun.status == 202
    second = warm("")
    assert (second.status, json.loads(second.body)["code"]) == (409, "conflict")
    path = begun.headers["Location"]

    def job() -> dict[str, object]:
        told: dict[str, object] = json.loads(service.get(path, headers).body)
        return told

    until(lambda: job()["status"] not in ("queued", "running"), "it has ended", WARM)
    assert job() | {"result": None} == {
        "id": path.rpartition("/")[2],
        "status": "succeeded",
        "progress": 1.0,
        "result": None,
        "error": None,
    }
    failure = {"source": "simulated", "pair": "NO-PAIR", "step": "prices"}
    result = job()["result"]
    assert isinstance(result, dict)
    assert [each | {"error": ""} for each in result["failed"]] == [failure | {"error": ""}]
    assert service.get("/api/indicators/ETH-USDC").headers["X-Cache"] == "HIT"
    done = service.run("flask", "--app", "wsgi", "cache", "warm", "--pairs", "BTC-USDC")
    assert (done.returncode, "in the cache" in done.stdout) == (0, True), done.stderr
    audit = json.loads(service.get("/api/admin/audit", headers).body)["entries"]
    mine = [each["outcome"] for each in audit if each["via"] == "none" or each["address"] == "command line"]
    assert mine[:2] == ["done", "intended"], audit[:3]
