"""Events and indicators of the running service: two gunicorn instances of two workers on one Redis."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from tests.caches import connected
from tests.monitored import commands_during
from tests.servers import RunningServer
from tests.service import Answer, GunicornService
from tests.traffic import PATIENCE, at_once, until_all_serve
from tests.waiting import until

pytestmark = pytest.mark.service

WORKERS = 2
CROWD = 8 * WORKERS  # at once, so that every worker answers some
BOUND = 1.0 + 2.0  # seconds: the staleness bound, and slack for a busy machine
SLOW = 4.0
"""Seconds that no answer exceeds; a Redis that hangs costs it 0.1 of them."""
DAY = "timeframe=1d"
"""Of candles that no test sees close, unless it is midnight."""
READS = {
    "price": "/api/market/price/{}",
    "book": "/api/market/orderbook/{}",
    "trades": "/api/market/trades/{}",
    "candles": f"/api/market/ohlcv/{{}}?{DAY}",
    "indicators": f"/api/indicators/{{}}?{DAY}&names=rsi,obv",
    "closed candles": f"/api/market/ohlcv/{{}}?{DAY}&closed=true",
}
PRICE = READS["price"]
TWENTY = (
    *(
        "rsi",
        "macd",
        "bbands",
        "stoch",
        "adx",
        "ema:9",
        "ema:21",
        "sma:50",
        "atr",
        "cci",
        "obv",
        "mfi",
        "willr",
    ),
    *("roc", "trix", "kama", "hma", "aroon", "stddev", "ad"),
)
CAME = {"type": "trade_executed"}


@dataclass
class Fleet:
    """Two instances, as two hosts have them, and the Redis that they share.

    Args:
        key: of a service account.
    """

    one: GunicornService
    other: GunicornService
    server: RunningServer
    key: str

    @property
    def instances(self) -> tuple[GunicornService, GunicornService]:
        """Both."""
        return self.one, self.other

    def send(self, service: GunicornService, body: Any) -> Answer:
        """Post *body*."""
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        return service.send("POST", "/api/events", json.dumps(body).encode(), headers)

    def post(self, service: GunicornService, **event: str) -> Any:
        """Post an event; return the tags that it invalidated."""
        answer = self.send(service, event)
        assert answer.status == 202, answer.body
        return json.loads(answer.body)["invalidated"]

    def ask(self, path: str, *services: GunicornService) -> list[Answer]:
        """Ask all workers of *services*, of both if none is named."""
        return [answer for each in services or self.instances for answer in at_once(each, path, CROWD)]

    def received(self, pair: str, *services: GunicornService) -> set[str]:
        """Ask all workers for the price; return when what they serve came from the exchange."""
        return {json.loads(answer.body)["received_at"] for answer in self.ask(PRICE.format(pair), *services)}

    def until_whole(self) -> None:
        """Wait until all workers say that they reach Redis."""
        for each in self.instances:
            until_all_serve(each, WORKERS)


def key_of_a_bot(service: GunicornService) -> str:
    """Make a service account by command; return a key of it."""
    for words in (("create", "bot", "--tier", "service"), ("keys", "create", "bot")):
        done = service.run("flask", "--app", "wsgi", "accounts", *words)
        assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def fleet(module_redis_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet, with one database; what it keeps outlives the tests."""
    names = ("MARKET_PRICE", "ORDERBOOK", "TRADES", "INDICATOR")
    env = {
        "SHIVX_REDIS_URL": module_redis_server.url,
        "SHIVX_SECRET_KEYS": "one-secret-of-both-instances-long-enough",
        "SHIVX_DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('accounts')}/shivx.db",
        "SHIVX_CACHE_WARMING_ENABLED": "false",
        **{f"SHIVX_CACHE_{name}_TTL": "600" for name in names},
    }
    with (
        GunicornService(workers=WORKERS, env=env) as one,
        GunicornService(workers=WORKERS, env=env) as other,
    ):
        found = Fleet(one, other, module_redis_server, key_of_a_bot(one))
        found.until_whole()
        yield found


def test_an_event_counts_in_every_worker_of_every_instance(fleet: Fleet, make_cache) -> None:
    """The other pair's price stays; an id counts once; killed workers change nothing; programs emit too."""
    (sol,), (btc,) = fleet.received("SOL-USDC"), fleet.received("BTC-USDC")
    invalidated = fleet.post(fleet.one, **CAME, pair="SOL-USDC", id="t-1")
    assert invalidated == ["pair:simulated:SOL-USDC"]
    until(lambda: sol not in fleet.received("SOL-USDC"), "no worker serves the old price", BOUND)
    (sol,) = fleet.received("SOL-USDC")
    assert fleet.post(fleet.other, **CAME, pair="SOL-USDC", id="t-1") == []
    for pid in fleet.other.worker_pids():
        os.kill(pid, signal.SIGKILL)
    until_all_serve(fleet.other, WORKERS)
    assert fleet.received("SOL-USDC") == {sol}
    assert fleet.received("BTC-USDC") == {btc}
    program = connected(make_cache(fleet.server.url, namespace="shivx"))  # it has no rules
    program.hooks.emit("trade_executed", {"pair": "BTC-USDC"})
    until(lambda: btc not in fleet.received("BTC-USDC"), "no worker serves the old price", BOUND)
    assert fleet.received("SOL-USDC") == {sol}


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        ("trade_executed", {"price", "book", "trades", "candles", "indicators"}),
        ("order_placed", {"book"}),
    ],
)
def test_each_row_counts_everywhere_for_its_pair_alone(fleet: Fleet, event: str, changes: set[str]) -> None:
    """What a row names is made anew; the rest, and all of another pair, is served as it was."""
    paths = {
        f"{name} of {pair}": READS[name].format(pair) for name in READS for pair in ("ETH-USDC", "BTC-USDC")
    }
    before = {}
    for name, path in paths.items():
        fleet.ask(path)
        (before[name],) = {answer.body for answer in fleet.ask(path)}
    anew: set[str] = set()
    fleet.post(fleet.one, type=event, pair="ETH-USDC")

    def look() -> bool:
        """Ask for all of it; tell whether all that was to change has been made anew."""
        for name, path in paths.items():
            answers = fleet.ask(path)
            if "MISS" in {answer.headers["X-Cache"] for answer in answers}:
                anew.add(name)
            else:
                assert name in anew or {answer.body for answer in answers} == {before[name]}
        return anew >= {f"{name} of ETH-USDC" for name in changes}

    until(look, "what the event changes is made anew", PATIENCE)
    look()
    assert anew == {f"{name} of ETH-USDC" for name in changes}
    (price,) = {answer.body for answer in fleet.ask(paths["price of ETH-USDC"])}
    assert (price != before["price of ETH-USDC"]) == ("price" in changes)


def test_twenty_indicators_are_read_at_once_as_the_server_saw_it(fleet: Fleet) -> None:
    """A worker that has none of them names all twenty in one MGET, and none of them in another command."""
    path = f"/api/indicators/SOL-USDC?{DAY}&names="
    first = fleet.one.get(path + ",".join(TWENTY))
    assert first.headers["X-Cache"] == "MISS"
    again = fleet.one.get(path + ",".join(TWENTY))
    assert (again.headers["X-Cache"], again.body) == ("HIT", first.body)
    other = path + ",".join(reversed(TWENTY))
    answer, commands = commands_during(fleet.server.url, lambda: fleet.other.get(other))
    assert answer.headers["X-Cache"] == "HIT"
    assert json.loads(answer.body)["indicators"] == json.loads(first.body)["indicators"]
    entry = ":v:indicator:{pair:simulated:SOL-USDC}:1d:"
    (reading,) = [command for command in commands if entry in command]
    assert reading.startswith("MGET ")
    assert reading.count(entry) == len(TWENTY)


def test_events_count_while_redis_hangs(fleet: Fleet) -> None:
    """They are accepted within the budget, felt on their host at once, and everywhere when Redis goes on."""
    fleet.post(
        fleet.one, **CAME, pair="SOL-USDC"
    )  # so that what comes now is fresh, and L1 may serve it long
    until(lambda: len(fleet.received("SOL-USDC")) == 1, "all workers have one price", BOUND)
    (sol,), (btc,) = fleet.received("SOL-USDC"), fleet.received("BTC-USDC")
    fleet.server.pause()
    try:
        for number in range(10):
            began = time.monotonic()
            assert fleet.post(fleet.one, **CAME, pair="SOL-USDC", id=f"hang-{number}") == [
                "pair:simulated:SOL-USDC"
            ]
            assert time.monotonic() - began < SLOW
        until(
            lambda: sol not in fleet.received("SOL-USDC", fleet.one), "no worker of the host serves it", BOUND
        )
    finally:
        fleet.server.resume()
    fleet.until_whole()
    until(lambda: sol not in fleet.received("SOL-USDC"), "no worker serves the old price", PATIENCE)
    until(lambda: fleet.received("BTC-USDC") == {btc}, "the other pair's entry is in its place", PATIENCE)
    with redis.Redis.from_url(fleet.server.url) as desk:
        until(lambda: len(desk.keys("*:id:hang-*")) == 10, "Redis is told of the events", PATIENCE)
    assert fleet.post(fleet.other, **CAME, pair="SOL-USDC", id="hang-9") == []


def test_redis_may_restart_amid_events(fleet: Fleet) -> None:
    """Each is accepted or refused with a time to come again, and none that was accepted is forgotten."""
    answers = []
    fleet.ask(PRICE.format("SOL-USDC"))
    for number in range(30):
        if number == 10:
            fleet.server.kill()
        if number == 20:
            fleet.server.start()
        answers.append(fleet.send(fleet.one, {**CAME, "pair": "SOL-USDC", "id": f"restart-{number}"}))
        last = datetime.now(UTC).isoformat()
    for answer in answers:
        assert answer.status == 202 or (answer.status == 503 and answer.headers["Retry-After"]), answer.body
    assert answers[0].status == answers[-1].status == 202
    until(
        lambda: min(fleet.received("SOL-USDC")) > last, "no worker serves what an event has ended", PATIENCE
    )
    fleet.until_whole()
    now = datetime.now(UTC).isoformat()
    fleet.post(fleet.other, **CAME, pair="SOL-USDC")
    until(lambda: min(fleet.received("SOL-USDC")) > now, "events count as before", BOUND)
