"""`flask` commands and the running gunicorn use one cache: what one does, the other sees at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cache_ext import MISS, TieredCache
from shivx.app import create_app
from shivx.names import price_key
from shivx.services import register_facts
from tests.caches import connected
from tests.market_stage import settings_for
from tests.processes import free_port, spawn, terminate
from tests.service import GunicornService
from tests.service_stage import processes_of, run_id, runtime_of
from tests.traffic import PATIENCE, PRICE, at_once, until_all_serve
from tests.waiting import until

pytestmark = pytest.mark.service

WORKERS = 2
CROWD = 8 * WORKERS  # at once, so that every worker answers some
BOUND = 1.0  # seconds after which no L1 may serve what was invalidated
SLACK = 1.0  # seconds for a busy machine
TAG = "pair:simulated:SOL-USDC"
NO_REDIS = {
    "SHIVX_REDIS_URL": "redis://127.0.0.1:1/0",
    "SHIVX_SECRET_KEYS": "a-key-for-nothing-but-this-test-long-enough",
}


@pytest.fixture(scope="module")
def service() -> Iterator[GunicornService]:
    """Two workers with the embedded Valkey, prices that outlive the tests."""
    with GunicornService(workers=WORKERS, env={"SHIVX_CACHE_MARKET_PRICE_TTL": "600"}) as service:
        until_all_serve(service, WORKERS)
        yield service


def received(service: GunicornService) -> set[str]:
    """Ask all workers for the price; return when what they serve came from the exchange."""
    return {json.loads(answer.body)["received_at"] for answer in at_once(service, PRICE, CROWD)}


@pytest.mark.parametrize("command", [["invalidate", "--tag", TAG], ["flush", "--reason", "a test"]])
def test_invalidation_by_command_reaches_every_worker(
    service: GunicornService, make_cache, command: list[str]
) -> None:
    """It counts in Redis when the command ends, and in each worker's own memory within a second."""
    service.get(PRICE)
    (old,) = received(service)
    looker: TieredCache = connected(
        make_cache(f"unix://{runtime_of(service).server_socket}", namespace="shivx")
    )
    register_facts(looker)
    key = price_key("simulated", "SOL-USDC")
    assert looker.get(key) is not MISS
    done = service.run("flask", "cache", *command)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert looker.get(key) is MISS
    until(lambda: old not in received(service), "nobody serves the old price", BOUND + SLACK)
    assert len(received(service)) == 1


def test_health_by_command_has_an_exit_code_and_json(service: GunicornService) -> None:
    """0 and `healthy` beside a healthy service, 1 and `degraded` without Redis."""
    healthy = service.run("flask", "cache", "health")
    assert (healthy.returncode, healthy.stdout) == (0, "healthy\n")
    healthy = service.run("flask", "cache", "health", "--json")
    assert (healthy.returncode, json.loads(healthy.stdout)["status"]) == (0, "healthy")
    degraded = service.run("flask", "cache", "health", "--json", env=NO_REDIS)
    assert (degraded.returncode, json.loads(degraded.stdout)["status"]) == (1, "degraded")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["invalidate"], 2, "name a --tag or a --key"),
        (["flush"], 2, "--reason"),
        (["explain"], 2, "name a KEY or a --request-id"),
        (["warm", "--pairs", "BTC"], 2, "--pairs: "),
        (["invalidate", "--tag", TAG], 1, "Redis does not answer: what runs on this host will tell it"),
        (["invalidate", "--tag", TAG, "--dry-run"], 1, "Redis does not answer, so nothing was counted"),
        (["flush", "--reason", "a test"], 1, "Redis does not answer: what runs on this host will tell it"),
        (["explain", "a-key"], 1, "not complete: Redis does not answer"),
        (["stats"], 1, "nothing is known of the service: "),
        (["stats", "--watch"], 1, "nothing is known of the service: "),
        (["warm"], 1, "Redis does not answer: nothing that is loaded would be kept"),
        (["health"], 1, "Redis does not answer"),
    ],
)
def test_command_that_does_nothing_says_so(
    service: GunicornService, arguments: list[str], code: int, message: str
) -> None:
    """2 for a wrong call, 1 if Redis is away; in both cases why, and no claim that it was done."""
    ended = service.run("flask", "cache", *arguments, env=NO_REDIS)
    assert ended.returncode == code
    said = ended.stdout if arguments == ["health"] else ended.stderr
    lines = [line for line in said.splitlines() if not line.startswith("{")]  # the log is beside it
    assert len([line for line in lines if message in line]) == 1, said
    assert "Traceback" not in ended.stderr
    assert "done" not in ended.stdout
    assert "by hand" not in ended.stderr


def test_each_command_was_tried_without_redis() -> None:
    """A new one has to be put into the table above."""
    (mark,) = test_command_that_does_nothing_says_so.pytestmark
    tried = {arguments[0] for arguments, code, _ in mark.args[1] if code == 1}
    group = create_app(settings_for()).cli.commands["cache"]
    assert isinstance(group, click.Group)
    assert set(group.commands) == tried


def test_flask_run_shares_the_embedded_server(service: GunicornService, tmp_path: Path) -> None:
    """A development server in the same folder serves what gunicorn's workers have cached."""
    body = service.get(PRICE).body
    before = processes_of(service), run_id(service)
    port = free_port()
    command = [sys.executable, "-m", "flask", "run", "--port", str(port)]
    process = spawn(command, tmp_path / "log", cwd=service.instance_dir, env=service.environment)
    try:
        beside = GunicornService(bind=f"127.0.0.1:{port}")
        until(lambda: _answers(beside), "flask run answers", PATIENCE)
        answer = beside.get(PRICE)
        assert (answer.headers["X-Cache"], answer.body) == ("HIT", body)
        assert (processes_of(service), run_id(service)) == before
    finally:
        terminate(process)


def _answers(service: GunicornService) -> bool:
    try:
        return service.get("/healthz").status == 200
    except OSError:
        return False
