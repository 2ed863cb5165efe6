"""Healthy, degraded, unhealthy: with a real Redis and a real exchange, each of which is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.accounts_stage import PASSWORD
from tests.processes import free_port, spawn, terminate
from tests.servers import RunningServer
from tests.service import GunicornService
from tests.waiting import until

pytestmark = pytest.mark.service

PATIENCE = 30.0
HEALTH = "/api/admin/cache/health"
BOOK = "/api/market/orderbook/BTC-USDC"


class Exchange:
    """A fake exchange in a process of its own, which can be killed and comes back at its address."""

    def __init__(self, log: Path) -> None:
        self._port = free_port()
        self._log = log
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Begin to serve."""
        command = [sys.executable, "-m", "tests.exchange_server", "--port", str(self._port)]
        self._log.unlink(missing_ok=True)
        root = Path(__file__).parent.parent
        self.process: subprocess.Popen[bytes] = spawn(command, self._log, cwd=root)
        until(lambda: self.url in self._log.read_text(), "the exchange serves", PATIENCE)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    """An exchange that speaks as Kraken does."""
    made = Exchange(tmp_path / "exchange.log")
    yield made
    terminate(made.process)


class Seen:
    """The service, an admin's key, and what they say."""

    def __init__(self, service: GunicornService) -> None:
        self.service = service
        create = ("create", "root", "--tier", "admin", "--password-stdin")
        for words in (create, ("keys", "create", "root", "--scope", "admin")):
            done = service.run("flask", "accounts", *words, stdin=f"{PASSWORD}\n")
            assert done.returncode == 0, done.stderr
        self._headers = {"X-API-Key": done.stdout.strip()}

    def until_told(self, status: str) -> dict[str, Any]:
        """Ask for what the exchange alone can give until a worker says *status*; return its report."""
        report: dict[str, Any] = {}

        def is_told() -> bool:
            self.service.get(BOOK)
            answer = self.service.get(HEALTH, self._headers)
            report.clear()
            report.update(json.loads(answer.body))
            assert answer.status == (503 if report["status"] == "unhealthy" else 200)
            return bool(report["status"] == status)

        until(is_told, f"it is {status}", PATIENCE)
        return report

    def command(self, *words: str) -> tuple[int, str]:
        """Return exit status and output of ``flask cache health``."""
        done = self.service.run("flask", "cache", "health", *words)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout


@pytest.fixture
def seen(exchange: Exchange, own_redis_server: RunningServer) -> Iterator[Seen]:
    """A service of two workers on both."""
    env = {
        "SHIVX_REDIS_URL": own_redis_server.url,
        "SHIVX_SECRET_KEYS": "s" * 32,
        "SHIVX_MARKET_SOURCE": "ccxt:kraken",
        "SHIVX_MARKET_SOURCE_URL": exchange.url,
        "SHIVX_MARKET_TIMEOUT": "5",
        "SHIVX_CACHE_ORDERBOOK_TTL": "0.1",
        "SHIVX_CACHE_ORDERBOOK_STALE_TTL": "0",
        "SHIVX_CACHE_OP_TIMEOUT": "1",
        "SHIVX_CACHE_BREAKER_COOLDOWN": "0.2",
    }
    with GunicornService(workers=2, env=env) as service:
        yield Seen(service)


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_each_state_is_reached_and_left(
    seen: Seen, exchange: Exchange, own_redis_server: RunningServer
) -> None:
    """Healthy; without the exchange and without Redis degraded; without both unhealthy; healthy again."""
    report = seen.until_told("healthy")
    assert (report["degraded"], report["origins"]) == ([], {"kraken": True})
    parts = ("redis", "limits", "sessions", "backplane", "database")
    assert {part: report[part] for part in parts} == dict.fromkeys(parts, True)

    exchange.kill()
    report = seen.until_told("degraded")
    assert (report["origins"], report["redis"]) == ({"kraken": False}, True)
    assert [part["part"] for part in report["degraded"]] == ["origin kraken"]
    missed = (1, "degraded\n  origin kraken does not answer\n")
    until(lambda: seen.command() == missed, "the command knows", PATIENCE)

    own_redis_server.kill()
    report = seen.until_told("unhealthy")
    assert {"redis", "limits", "sessions"} <= {part["part"] for part in report["degraded"]}
    assert seen.service.get("/readyz").status == 200, "no restart would help"
    code, told = seen.command("--json")
    report = {"status": "unhealthy", "redis": False, "origins": {"kraken": False}}
    assert (code, json.loads(told)) == (2, report)

    exchange.start()
    seen.until_told("degraded")
    assert seen.command() == (1, "degraded\n  Redis does not answer\n"), "it asks the exchange itself"

    own_redis_server.start()
    seen.until_told("healthy")
    until(lambda: seen.command() == (0, "healthy\n"), "the command knows", PATIENCE)
