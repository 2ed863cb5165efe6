"""Limits while Redis is away: one share a host, told on return, and nobody waits."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cache_ext import TieredCache
from cache_ext.errors import StoreUnavailable
from cache_ext.limits import shares as module
from cache_ext.limits.counting import Debt
from cache_ext.limits.limiter import Limiter
from cache_ext.limits.shares import Shares
from tests.caches import PATIENCE, all_at_once, begin, connected, stop_before
from tests.limits_stage import EPOCH, Hand, Log, limiter_on
from tests.servers import RunningServer
from tests.waiting import until

LIMIT = 10


@pytest.fixture
def server_kind() -> str:
    """One kind will do: nothing here depends on the server."""
    return "valkey"


WINDOW_MS = 60_000


def admitted(limiter: Limiter, subject: str = "account:1", tries: int = 4 * LIMIT) -> int:
    """Return how many of many requests are let through."""
    return sum(limiter.check(subject, LIMIT).allowed for _ in range(tries))


def returned(limiter: Limiter) -> None:
    """Wait until Redis counts again."""
    until(lambda: not limiter.check("somebody else", 1000).alone, "Redis counts again")


@pytest.fixture
def crew(
    make_cache: Callable[..., TieredCache], own_redis_server: RunningServer, tmp_path: Path
) -> list[Limiter]:
    """Two workers of this host, and one of another."""
    folders = (tmp_path / "here", tmp_path / "here", tmp_path / "there")
    caches = [connected(make_cache(own_redis_server.url, breaker_cooldown=0.1)) for _ in folders]
    return [limiter_on(cache, None, folder) for cache, folder in zip(caches, folders, strict=True)]


def test_from_the_last_figure_down(crew: list[Limiter], own_redis_server: RunningServer) -> None:
    """What Redis had told any worker of the host is what all of them may still admit, together."""
    one, two, _ = crew
    two.check("account:1", LIMIT)
    assert one.check("account:1", LIMIT, 5).remaining == 4
    own_redis_server.kill()
    figures = [limiter.check("account:1", LIMIT) for limiter in (two, one, two)]
    assert [figure.remaining for figure in figures] == [3, 2, 1]
    assert all(figure.alone and figure.allowed for figure in figures)
    assert admitted(one) + admitted(two) == 1
    refused = two.check("account:1", LIMIT)
    assert refused.retry_after > 0
    assert refused.reset >= time.time()


def test_the_excess_is_one_share_a_host(crew: list[Limiter], own_redis_server: RunningServer) -> None:
    """Two workers of one host and one of another admit a limit a host of a subject nobody had seen."""
    own_redis_server.kill()
    assert admitted(crew[0]) + admitted(crew[1]) == LIMIT
    assert admitted(crew[2]) == LIMIT


def test_what_was_admitted_alone_is_told_on_return(
    crew: list[Limiter], own_redis_server: RunningServer
) -> None:
    """The hosts' admissions count once Redis is back, whichever worker asks first."""
    own_redis_server.kill()
    crew[0].check("account:1", LIMIT, 3)
    crew[2].check("account:1", LIMIT, 2)
    own_redis_server.start()
    returned(crew[1])
    returned(crew[2])
    assert crew[2].check("account:1", LIMIT, 0).remaining == LIMIT - 5
    assert crew[0].check("account:1", LIMIT, 0).remaining == LIMIT - 5
    assert not any(limiter.shares.debts.any for limiter in crew)


def test_all_subjects_are_told_not_only_who_asks(
    crew: list[Limiter], own_redis_server: RunningServer
) -> None:
    """More than go at once, too."""
    own_redis_server.kill()
    subjects = [f"account:{number}" for number in range(250)]
    for subject in subjects:
        assert crew[0].check(subject, LIMIT).alone
    own_redis_server.start()
    until(lambda: not crew[1].check("x", 10**6).alone and not crew[1].shares.debts.any, "all is told")
    assert {crew[2].check(subject, LIMIT, 0).remaining for subject in subjects} == {LIMIT - 1}


def test_a_window_after_the_last_figure_the_whole_limit_is_there(
    make_cache: Callable[..., TieredCache], own_redis_server: RunningServer, tmp_path: Path
) -> None:
    """In the outage too it slides: never more than the limit in any window, and all of it in a later one."""
    hand, log = Hand(), Log(WINDOW_MS)
    cache = connected(make_cache(own_redis_server.url))
    limiter = limiter_on(cache, hand, tmp_path)
    assert limiter.check("a", LIMIT, 8).remaining == 2
    log.admitted.append((hand.ms, 8))
    own_redis_server.kill()
    for _ in range(400):
        hand.ms += 500
        if limiter.check("a", LIMIT).allowed:
            log.admitted.append((hand.ms, 1))
    assert log.most() <= LIMIT
    assert log.within(EPOCH + WINDOW_MS + 2_000, hand.ms) >= 2 * LIMIT


def test_merging_keeps_the_times(
    make_cache: Callable[..., TieredCache], redis_url: str, tmp_path: Path
) -> None:
    """What was admitted half a window ago frees in half a window, and is among what others admitted."""
    hand = Hand()
    limiter = limiter_on(make_cache(redis_url), hand, tmp_path)
    shares, check = limiter.shares, limiter._check("a", LIMIT, 3, 60.0)
    shares.admit(check)
    hand.ms += 30_000
    assert limiter.check("b", LIMIT).remaining == LIMIT - 1
    assert limiter.check("a", LIMIT).remaining == LIMIT - 4
    hand.ms += 32_000
    assert limiter.check("a", LIMIT, 0).remaining == LIMIT - 1


def test_debts_that_could_not_be_told_are_kept(
    make_cache: Callable[..., TieredCache], redis_url: str, tmp_path: Path
) -> None:
    """Whatever fails while Redis is told, it is told later, once."""
    limiter = limiter_on(make_cache(redis_url), Hand(), tmp_path)
    shares, check = limiter.shares, limiter._check("a", LIMIT, 3, 60.0)
    shares.admit(check)

    def fail(debts: Sequence[Debt]) -> None:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        shares.debts.settle(check.place, 10, fail)
    assert shares.debts.any
    told: list[Debt] = []
    shares.debts.settle(check.place, 10, told.extend)
    (debt,) = told
    assert (debt.place, debt.bucket, debt.width_ms) == (check.place, check.bucket, check.width_ms)
    assert [units for _, units in debt.admitted] == [3]
    assert not shares.debts.any
    shares.debts.settle(check.place, 10, fail)


def test_nobody_is_counted_before_redis_was_told(
    make_cache: Callable[..., TieredCache], redis_url: str, tmp_path: Path
) -> None:
    """While one worker tells, another that asks for the same subject waits, and finds it counted."""
    one, two = (limiter_on(make_cache(redis_url), None, tmp_path) for _ in range(2))
    one.shares.admit(one._check("a", LIMIT, LIMIT, 60.0))
    stop = stop_before(one._counts, "merge")
    first = begin(lambda: one.check("a", LIMIT))
    stop.wait()
    second = begin(lambda: two.check("a", LIMIT))
    stop.go()
    assert not first.result(PATIENCE).allowed
    assert not second.result(PATIENCE).allowed


def test_a_crowd_of_two_workers_shares_one_part(crew: list[Limiter], own_redis_server: RunningServer) -> None:
    """Sixteen threads at once count right, each of them through the file."""
    own_redis_server.kill()
    admitted(crew[0], "warm"), admitted(crew[1], "warm")
    counts = all_at_once(16, lambda number: admitted(crew[number % 2], "account:9", LIMIT))
    assert sum(counts) == LIMIT


def test_no_request_waits_for_a_redis_that_hangs(
    crew: list[Limiter], own_redis_server: RunningServer
) -> None:
    """Five pay what one may spend, which is a second here; all others nothing."""
    own_redis_server.pause()
    try:
        began = time.monotonic()
        for _ in range(5):
            assert crew[0].check("account:1", LIMIT).alone
        assert time.monotonic() - began < 5 * 1.0 + 1.0
        began = time.monotonic()
        assert admitted(crew[0], "account:2", 200) == LIMIT
        assert time.monotonic() - began < 5.0  # one more who paid: a second; all: two hundred
    finally:
        own_redis_server.resume()
    returned(crew[0])


def test_who_still_goes_without_redis_has_no_second_share(
    make_cache: Callable[..., TieredCache], own_redis_server: RunningServer, tmp_path: Path
) -> None:
    """Once another process of the host has told Redis, all have what was left: here nothing."""
    caches = [connected(make_cache(own_redis_server.url, breaker_cooldown=each)) for each in (0.1, 60.0)]
    quick, slow = (limiter_on(cache, None, tmp_path / "here") for cache in caches)
    slow.check("account:2", LIMIT, 3)
    own_redis_server.kill()
    assert admitted(quick) + admitted(slow) == LIMIT
    assert admitted(quick, "account:2", 4) == 4
    own_redis_server.start()
    returned(quick)
    assert slow.check("account:1", LIMIT).alone
    assert (admitted(slow), admitted(slow, "account:2")) == (0, LIMIT - 3 - 4)
    assert admitted(quick) == 0


def test_who_waits_while_redis_is_told_has_no_second_share(
    make_cache: Callable[..., TieredCache], redis_url: str, tmp_path: Path
) -> None:
    """He began before the figure was noted that he finds when it is his turn; it counts."""
    one, two = (limiter_on(make_cache(redis_url), None, tmp_path) for _ in range(2))
    check = one._check("account:1", LIMIT, 1, 60.0)
    assert alone(one) == LIMIT
    turn = stop_before(two.shares, "_locked")
    late = begin(lambda: two.shares.admit(check))
    turn.wait()
    one.shares.debts.settle(check.place, 10, lambda debts: None)
    turn.go()
    assert late.result(PATIENCE).ready > 0
    assert alone(two) == 0


@pytest.mark.parametrize("other", ["the same process", "another"])
def test_a_redis_that_hangs_while_it_is_told_holds_up_nobody_else(
    make_cache: Callable[..., TieredCache], redis_url: str, tmp_path: Path, other: str
) -> None:
    """Others go on from the share without waiting for who tells it; what they admit is owed, told next."""
    one, two = (limiter_on(make_cache(redis_url), None, tmp_path) for _ in range(2))
    two = one if other == "the same process" else two
    check = one._check("account:1", LIMIT, 1, 60.0)
    one.shares.admit(check)
    under_way, go = threading.Event(), threading.Event()

    def hang(debts: Sequence[Debt]) -> None:
        under_way.set()
        assert go.wait(PATIENCE)

    telling = begin(lambda: one.shares.debts.settle(check.place, 10, hang))
    assert under_way.wait(PATIENCE)
    assert two.check("account:1", LIMIT).alone
    go.set()
    assert telling.result(PATIENCE)
    told: list[Debt] = []
    assert two.shares.debts.settle(check.place, 10, told.extend)
    (debt,) = told
    assert [units for _, units in debt.admitted] == [1]
    assert two.shares.admit(check).left == LIMIT - 3


def test_who_tells_redis_slowly_is_not_taken_for_dead(
    make_cache: Callable[..., TieredCache], redis_url: str, tmp_path: Path
) -> None:
    """While his budget lasts nobody tells the same again, which would count twice; then somebody does."""
    skipped, told = [0.0], []

    def opened() -> Shares:
        return Shares(tmp_path, lambda: time.monotonic() + skipped[0], time.time, budget=5.0)

    one, two = opened(), opened()
    check = limiter_on(make_cache(redis_url), None, tmp_path)._check("account:1", LIMIT, 1, 60.0)
    one.admit(check)

    def slowly(debts: Sequence[Debt]) -> None:
        skipped[0] += 4.0
        assert not two.debts.settle(check.place, 10, told.extend)
        skipped[0] += 7.0
        assert two.debts.settle(check.place, 10, told.extend)

    assert one.debts.settle(check.place, 10, slowly)
    assert len(told) == 1
    assert not one.debts.any


HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "r+b")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_nobody_waits_for_who_stands_still_with_the_lock(
    crew: list[Limiter], own_redis_server: RunningServer, tmp_path: Path
) -> None:
    """One wait of 0.1 s a second for all; the figures go on."""
    own_redis_server.kill()
    admitted(crew[0], "warm")
    (path,) = (tmp_path / "here").glob(f"*/{module.FILE_NAME}")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        began = time.monotonic()
        assert admitted(crew[0], "account:3", 200) == LIMIT
        assert time.monotonic() - began < 4.0  # were each to wait: twenty
    finally:
        holder.communicate()


def test_a_folder_that_cannot_be_used_leaves_each_process_alone(
    make_cache: Callable[..., TieredCache], redis_url: str, tmp_path: Path
) -> None:
    """One warning, no error."""
    (tmp_path / "file").write_text("")
    limiter = limiter_on(make_cache(redis_url), None, tmp_path / "file")
    assert limiter.check("a", LIMIT).remaining == LIMIT - 1


def alone(limiter: Limiter) -> int:
    """Return how many of many requests are let through without asking Redis, which is there."""
    check = limiter._check("account:1", LIMIT, 1, 60.0)
    return sum(limiter.shares.admit(check).ready == 0 for _ in range(4 * LIMIT))


def test_the_table_of_an_earlier_boot_counts_no_more(
    make_cache: Callable[..., TieredCache],
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its times are of another clock."""
    assert alone(limiter_on(make_cache(redis_url), None, tmp_path)) == LIMIT
    assert alone(limiter_on(make_cache(redis_url), None, tmp_path)) == 0
    monkeypatch.setattr(module, "boot_name", lambda: "another")
    assert alone(limiter_on(make_cache(redis_url), None, tmp_path)) == LIMIT


def test_a_full_table_forgets_the_longest_untouched(
    make_cache: Callable[..., TieredCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as many subjects as may meet and one more, the first begins anew; nobody is refused for it."""
    monkeypatch.setattr(module, "LINES", module.WAYS)
    hand = Hand()
    limiter = limiter_on(make_cache(), hand)
    for number in range(module.WAYS + 1):
        hand.ms += 10
        assert limiter.check(f"account:{number}", 1).allowed
    assert not limiter.check(f"account:{module.WAYS}", 1).allowed
    assert not limiter.check("account:1", 1).allowed
    assert limiter.check("account:0", 1).allowed


def test_a_damaged_table_is_a_wrong_count_at_worst(
    make_cache: Callable[..., TieredCache], redis_url: str, tmp_path: Path
) -> None:
    """Any bytes in it: a decision comes, and Redis is told nothing of it that is not ours."""
    cache = make_cache(redis_url)
    limiter = limiter_on(cache, Hand(), tmp_path)
    shares, check = limiter.shares, limiter._check("a", LIMIT, 1, 60.0)
    mark, lines = shares._mark(check.place)
    for byte in (0x00, 0x7F, 0xFF):
        for at in lines:
            shares._table[at : at + module.LINE_BYTES] = bytes([byte]) * module.LINE_BYTES
            shares._table[at : at + len(mark)] = mark
        assert 0 <= shares.admit(check).left <= LIMIT
        told: list[Debt] = []
        shares.debts.settle(check.place, 100, told.extend)
        assert {debt.place for debt in told} <= {check.place}
        assert limiter.check("a", LIMIT).remaining >= 0
