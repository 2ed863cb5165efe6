"""Checks that are asked together: each counts, and is answered, as if it had been asked alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_ext import TieredCache
from cache_ext.keys import BUCKETS
from cache_ext.limits.decision import Check
from cache_ext.limits.limiter import Limiter
from cache_ext.limits.window import Window
from tests.caches import connected
from tests.limits_stage import Hand, limiter_on
from tests.servers import RunningServer
from tests.service import ROOT
from tests.waiting import until

PATIENCE = 60.0
WINDOW = 60.0
WANTED = st.tuples(st.integers(0, 5), st.sampled_from([3, 8]), st.sampled_from([0, 1, 1, 2, 9]))
"""A subject, its limit and a cost."""
BATCHES = st.lists(
    st.tuples(st.integers(0, 40_000), st.lists(WANTED, min_size=1, max_size=30)), min_size=1, max_size=12
)


def one_after_another(checks: Sequence[Check]) -> list[int]:
    """Return the numbers of *checks* in the order in which they are counted: equal ones in a row."""
    firsts = {check: number for number, check in reversed([*enumerate(checks)])}
    return sorted(range(len(checks)), key=lambda number: (firsts[checks[number]], number))


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(batches=BATCHES)
def test_a_batch_counts_as_its_checks_one_after_another(
    make_cache: Callable[..., TieredCache], redis_url: str, batches: list[Any]
) -> None:
    """Of several subjects, some of them more than once, with other costs and limits."""
    hand, models = Hand(), [Window() for _ in range(6)]
    limiter = limiter_on(make_cache(redis_url), hand)
    for number in range(len(models)):
        limiter.forget(f"account:{number}")
    for gap, wanted in batches:
        hand.ms += gap
        checks = [limiter._check(f"account:{who}", limit, cost, WINDOW) for who, limit, cost in wanted]
        answers = limiter._counts.ask(checks)
        assert len(answers) == len(checks)
        for number in one_after_another(checks):
            who, limit, cost = wanted[number]
            assert answers[number] == models[who].admit(hand.ms, limit, cost, checks[number].width_ms)


def sent_by(limiter: Limiter) -> list[Sequence[Any]]:
    """Return a list to which all commands of *limiter* come."""
    sent: list[Sequence[Any]] = []
    run = limiter._gateway.run
    limiter._gateway.run = lambda commands, *rest: sent.extend(commands) or run(commands, *rest)
    return sent


def many(limiter: Limiter) -> list[Check]:
    """Return checks of subjects in all buckets, twice each."""
    return [limiter._check(f"account:{number}", 9, 1, WINDOW) for number in range(200)] * 2


def assert_all_counted(limiter: Limiter, commands: int) -> None:
    """Ask for many at once; each is counted once, in so many commands."""
    sent = sent_by(limiter)
    lefts = sorted(answer.left for answer in limiter._counts.ask(many(limiter)))
    assert lefts == [7] * 200 + [8] * 200
    assert [command[0] for command in sent] == ["EVALSHA"] * commands


def test_one_call_takes_all(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """A server without slots is asked by one script call, whatever the buckets."""
    assert_all_counted(limiter_on(connected(make_cache(redis_url))), 1)


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_server_of_a_cluster_gets_a_call_a_bucket(
    make_cache: Callable[..., TieredCache], start_redis: Callable[..., RunningServer]
) -> None:
    """It refuses calls whose keys lie in several slots."""
    server = start_redis("--cluster-enabled", "yes")
    assert server.ask("CLUSTER ADDSLOTSRANGE 0 16383") == b"+OK"
    until(lambda: server.ask("SET probe 1") == b"+OK", "the cluster serves its slots")
    assert_all_counted(limiter_on(connected(make_cache(server.url))), BUCKETS)


def test_what_is_asked_alone_is_made_once(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """The same check is the same command again, unless a clock of one's own is part of it."""
    limiter = limiter_on(connected(make_cache(redis_url)))
    sent = sent_by(limiter)
    assert [limiter.check("a", 9).remaining for _ in range(3)] == [8, 7, 6]
    assert sent[0] is sent[1] is sent[2]
    hand = Hand()
    by_hand = limiter_on(make_cache(redis_url), hand)
    assert by_hand.check("b", 1).allowed
    hand.ms += 61_000
    assert by_hand.check("b", 1).allowed


def test_greenlets_go_together_though_nobody_ever_waits() -> None:
    """If answers are there at once, all who are ready come along all the same; a killed leader harms none."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.trips_greenlets"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["trips"][0] == list(range(8))
    assert found["answers"] == [10 * number for number in range(8)]
    assert found["after a killed leader"] == [[1, 2, 3]]
    assert found["poll"] == "system"
