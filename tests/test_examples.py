"""The programs in examples/ run as they stand, against real servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cache_ext import cache_of
from examples.flask_app import app, prices
from tests.exchange_server import ExchangeServer
from tests.service import ROOT

EXAMPLES = ROOT / "examples"
SECONDS = 60.0


def run(module: str, *arguments: str, redis_url: str = "memory://") -> subprocess.CompletedProcess[str]:
    """Run a program of examples/ as a reader would."""
    return subprocess.run(
        [sys.executable, "-m", f"examples.{module}", *arguments],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture
def exchange() -> Iterator[ExchangeServer]:
    """A Kraken on this machine."""
    with ExchangeServer("kraken") as server:
        yield server


def test_each_program_is_run_here_and_named_in_the_readme() -> None:
    """No example is forgotten, by the tests or by who reads the README."""
    programs = {path.stem for path in EXAMPLES.glob("*.py")} - {"__init__"}
    assert programs == {"flask_app", "engine_alone", "real_exchange"}
    readme = (ROOT / "README.md").read_text()
    assert {name for name in programs if f"examples/{name}.py" in readme} == programs


def test_the_flask_app_is_short_and_shows_a_change_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some thirty lines: a page is made once, and a changed price is on it at the next request."""
    lines = [line for line in (EXAMPLES / "flask_app.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 30
    client = app.test_client()
    try:
        assert client.get("/fruit/apple").json == {"name": "apple", "price": 3}
        monkeypatch.setitem(prices, "apple", 4)  # behind its back: the database is not asked again
        assert client.get("/fruit/apple").json == {"name": "apple", "price": 3}
        assert client.put("/fruit/apple/5").status_code == 200
        assert client.get("/fruit/apple").json == {"name": "apple", "price": 5}
        assert client.get("/fruit/stone").status_code == 404
    finally:
        cache_of(app).close()


def test_the_engine_alone_says_what_it_does(redis_url: str) -> None:
    """A hundred readers ask once, in Redis as in memory; sales and closed doors are felt at once."""
    for url in ("memory://", redis_url):
        ran = run("engine_alone", redis_url=url)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.splitlines() == [
            "100 readers, asked 1 time: {'apples': 3}",
            "after the sale: {'apples': 2}, in the cache {'apples': 2}",
            "while the warehouse is closed: {'apples': 2}",
            "deleted: True",
        ]


def test_bots_share_the_calls_of_a_real_exchange(exchange: ExchangeServer) -> None:
    """Many prices, few calls, as the exchange counts them too; one that does not answer is said in a line."""
    arguments = ("kraken", "BTC/USD", "DOGE/USD", "--seconds", "1", "--base", exchange.url)
    ran = run("real_exchange", *arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = re.search(r"(\d+) prices for 20 bots, (\d+) calls of kraken", ran.stdout)
    assert found is not None
    assert int(found[1]) >= 40
    tickers = sum("Ticker" in path for path, _ in exchange.queries)
    assert 1 <= tickers == int(found[2])
    exchange.fault("*/Ticker", "limit")
    ran = run("real_exchange", *arguments)
    assert ran.returncode == 1
    assert ran.stderr.startswith("kraken gives no prices: ")
    assert "Traceback" not in ran.stderr
