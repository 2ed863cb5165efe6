"""The fault drill runs: every fault befalls a service under load, and the judge finds what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.course import Bots
from benchmarks.drill.faults import FAULTS
from benchmarks.drill.judging import Change, Judge
from benchmarks.drill.truth import Simulated
from benchmarks.open_lines import Reply
from shivx.providers.simulated import SimulatedExchange

pytestmark = pytest.mark.service
ROOT = Path(__file__).parent.parent
PATIENCE = 400.0
NOW = 1_760_000_000.0
PAIR = "SOL-USDC"
ASKED = 100.0
"""When it was asked, monotonic seconds; that is `NOW`."""


@pytest.mark.usefixtures("haproxy")
def test_every_fault_befalls_a_service_under_load(tmp_path):
    """Each has its row, made of requests that were answered, and none was left out."""
    output = tmp_path / "drill.json"
    command = [sys.executable, "-m", "benchmarks.drill", "--tiny", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    rows = json.loads(output.read_text())["rows"]
    assert [row["fault"] for row in rows] == [fault.name for fault in FAULTS]
    for row in rows:
        assert "not run" not in row, row
        assert row["requests"] > 0
        assert row["failed"] + row["wrong or unmarked stale"] + row["lost with a worker"] < row["requests"]
        assert f"| {row['fault']} | {row['requests']} |" in done.stdout


def price(at=NOW, **changes):
    """Return the body of the price as it was *at*, Unix seconds, and as *changes* say."""
    exchange = SimulatedExchange(now=lambda: at)
    ticker = exchange.ticker(exchange.catalogue(), PAIR)
    names = ("price", "bid", "ask", "high_24h", "low_24h", "volume_24h", "quote_volume_24h")
    told = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    fact = {"pair": PAIR, "received_at": told, "stale": False, **changes}
    numbers = ",".join(
        f'"{name}":{changes.get(name, getattr(ticker, name))}' for name in names if name not in fact
    )
    return f"{json.dumps(fact)[:-1]},{numbers}}}".encode()


def reply(body=b"", status=200, head=b"", wait=0.001):
    """Return an answer to a question that was due at `ASKED`."""
    return Reply(0, ASKED, ASKED + wait, status, b"HTTP/1.1 200 OK\r\nX-Cache: HIT" + head, body)


def judged(*replies, changes=(), killed=()):
    """Return what the judge finds."""
    judge = Judge(Bots((PAIR,), mix=(("price", 1.0),)), Simulated(), NOW - ASKED)
    return judge.judge(replies, (ASKED - 1, ASKED + 1), changes, killed)


def test_what_is_right_is_not_objected_to():
    """A true price within its ttl, a stale one that says so, a refusal, and what the contract calls 503."""
    named = b"\r\nContent-Type: application/problem+json\r\nRetry-After: 1"
    stale = Reply(0, ASKED, ASKED, 200, b"HTTP/1.1 200 OK\r\nX-Cache: STALE", price(NOW - 20, stale=True))
    found = judged(reply(price(NOW - 4)), stale, reply(status=429), reply(status=503, head=named))
    assert (found.failed, found.wrong, found.stale, found.limited, found.named) == ([], [], 1, 1, 1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (price(NOW, price=1), "no such price"),
        (price(NOW - 6), "old, unmarked"),
        (price(NOW - 1).replace(b"SOL", b"BTC"), "of BTC-USDC"),
    ],
)
def test_a_wrong_answer_is_found(body, why):
    """It tells what never was, is too old and does not say so, or is about another pair."""
    ((told, _),) = judged(reply(body)).wrong
    assert why in told


def test_what_an_event_ended_is_not_to_be_served_a_second_later():
    """It is wrong from the bound of staleness on, not before."""
    ended = [Change(PAIR, ASKED - 2.0, ASKED - 1.5)]
    begun = [Change(PAIR, ASKED - 2.0, ASKED - 0.5)]
    assert len(judged(reply(price(NOW - 3)), changes=ended).wrong) == 1
    assert judged(reply(price(NOW - 1)), changes=ended).wrong == []
    assert judged(reply(price(NOW - 3)), changes=begun).wrong == []


def test_what_fails_is_counted():
    """No answer and an unnamed error are failures; what was under way in a killed worker is lost with it."""
    gone = Reply(0, ASKED, ASKED + 0.01, 0, b"closed before an answer", b"")
    found = judged(reply(status=500), gone)
    assert len(found.failed) == 2
    found = judged(reply(status=500), gone, killed=[(ASKED, ASKED + 0.005)])
    assert (len(found.failed), found.lost) == (1, 1)
    assert judged(reply(price(), wait=0.3)).p99 == pytest.approx(0.3)
