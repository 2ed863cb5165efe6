"""The sliding window on real servers: never more than the limit, and hardly ever less."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_ext import TieredCache
from cache_ext.errors import ConfigurationError
from cache_ext.limits.window import Window
from tests.limits_stage import EPOCH, Hand, Log, limiter_on

WINDOW = 60.0
WINDOW_MS = 60_000
SECOND_MS = 1_000
ONE_SLICE_MS = 1_000
PLENTY = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
GAPS = st.one_of(st.just(0), st.integers(0, 30), st.integers(0, 3_000), st.integers(55_000, 65_000))
ARRIVALS = st.lists(
    st.tuples(GAPS, st.sampled_from([1, 1, 1, 2, 5]), st.integers(0, 2)), min_size=1, max_size=120
)


@pytest.fixture
def counting(make_cache: Callable[..., TieredCache], redis_url: str) -> TieredCache:
    """A cache whose Redis counts."""
    return make_cache(redis_url)


def judged(cache: TieredCache, arrivals: list[tuple[int, int, int]], limit: int, start: int) -> Log:
    """Let three limiters admit *arrivals* for one subject, and return what they said."""
    hand, log = Hand(EPOCH + start), Log(WINDOW_MS)
    crew = [limiter_on(cache, hand) for _ in range(3)]
    crew[0].forget("account:1")
    for gap, cost, who in arrivals:
        hand.ms += gap
        decision = crew[who].check("account:1", limit, cost)
        assert not decision.alone
        assert decision.remaining <= limit - log.within(hand.ms - WINDOW_MS + 1, hand.ms) - (
            cost if decision.allowed else 0
        )
        (log.admitted if decision.allowed else log.refused).append((hand.ms, cost))
    return log


@PLENTY
@given(arrivals=ARRIVALS, limit=st.integers(1, 25), start=st.integers(0, 999))
def test_never_more_than_the_limit_in_any_trailing_window(
    counting: TieredCache,
    arrivals: list[tuple[int, int, int]],
    limit: int,
    start: int,
) -> None:
    """However requests arrive, on three hosts, the log of admitted times never exceeds it; nor is it unjust.

    A refusal is just if what was admitted in the window, and the second before it, leaves no room.
    """
    log = judged(counting, arrivals, limit, start)
    assert log.most() <= limit
    assert list(log.unjust(limit, SECOND_MS)) == []


@PLENTY
@given(arrivals=ARRIVALS, limit=st.integers(1, 25), window=st.sampled_from([1.0, 60.0, 3600.0]))
def test_the_script_counts_as_the_arithmetic_does(
    counting: TieredCache,
    arrivals: list[tuple[int, int, int]],
    limit: int,
    window: float,
) -> None:
    """Every figure of the script is that of `Window`, which decides where there is no Redis."""
    hand, model = Hand(), Window()
    limiter = limiter_on(counting, hand)
    limiter.forget("account:1", window)
    for gap, cost, _ in arrivals:
        hand.ms += gap
        check = limiter._check("account:1", limit, cost, window)
        assert limiter._counts.ask([check])[0] == model.admit(hand.ms, limit, cost, check.width_ms)


def test_a_refusal_costs_nothing(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """After a hundred refusals the quota frees as if there had been none."""
    hand = Hand()
    limiter = limiter_on(make_cache(redis_url), hand)
    assert [limiter.check("a", 2).allowed for _ in range(100)] == [True, True] + [False] * 98
    hand.ms += WINDOW_MS + SECOND_MS
    assert [limiter.check("a", 2).allowed for _ in range(3)] == [True, True, False]


def test_figures_say_when_the_next_unit_frees(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """Not a millisecond before `reset` there is a unit, and at it there is; `retry_after` leads there."""
    hand = Hand(EPOCH + 400)
    limiter = limiter_on(make_cache(redis_url), hand)
    first = limiter.check("a", 2)
    assert (first.remaining, first.reset) == (1, hand.ms // 1000)
    hand.ms += 5_000
    second = limiter.check("a", 2)
    assert (second.allowed, second.remaining, second.retry_after) == (True, 0, 0)
    assert second.reset == EPOCH // 1000 + 61
    refused = limiter.check("a", 2)
    assert (refused.allowed, refused.reset, refused.retry_after) == (False, second.reset, refused.renews)
    assert (
        hand.ms + 1000 * (refused.retry_after - 1)
        < refused.reset * 1000
        <= hand.ms + 1000 * refused.retry_after
    )
    hand.ms = second.reset * 1000 - 1
    assert not limiter.check("a", 2).allowed
    hand.ms += 1
    assert limiter.check("a", 2).allowed


def test_retry_after_is_for_the_cost_that_was_asked(
    make_cache: Callable[..., TieredCache], redis_url: str
) -> None:
    """What costs more waits until as much is free; what exceeds the limit is told a whole window."""
    hand = Hand()
    limiter = limiter_on(make_cache(redis_url), hand)
    for _ in range(3):
        limiter.check("a", 3)
        hand.ms += 10_000
    assert limiter.check("a", 3, 1).retry_after == 31
    assert limiter.check("a", 3, 2).retry_after == 41
    assert limiter.check("a", 3, 3).retry_after == 51
    assert limiter.check("a", 3, 4).retry_after == 60


def test_looking_takes_nothing(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """A cost of 0 tells what is left."""
    limiter = limiter_on(make_cache(redis_url))
    limiter.check("a", 5)
    assert [limiter.check("a", 5, 0).remaining for _ in range(3)] == [4, 4, 4]


def test_counts_go_when_their_window_is_over(
    make_cache: Callable[..., TieredCache], redis_url: str, namespace: str
) -> None:
    """Whatever the limiter writes has a ttl of its window and two slices at most."""
    cache = make_cache(redis_url)
    limiter = limiter_on(cache)
    for window in (1.0, 60.0, 3600.0, 60.0, 60.0):
        limiter.check("a", 5, 1, window)
    keys = list(cache.gateway.way.server.client.scan_iter(f"{namespace}:*x:limit:*"))
    assert len(keys) == 3
    lives = sorted(cache.gateway.way.server.client.pttl(key) / 1000 for key in keys)
    for life, window in zip(lives, (1.0, 60.0, 3600.0), strict=True):
        assert 0 < life <= window * 62 / 60 + 0.1


def test_a_subject_of_any_shape_has_a_quota(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """Long, with braces, blanks or control characters: each has its own."""
    limiter = limiter_on(make_cache(redis_url))
    odd = ["x" * 5000, "x" * 5001, "a b", "{a}", "a\nb", "\x00", "\udc80", "ä"]
    assert [limiter.check(subject, 1).allowed for subject in odd] == [True] * len(odd)
    assert [limiter.check(subject, 1).allowed for subject in odd] == [False] * len(odd)


@pytest.mark.parametrize(
    ("limit", "cost", "window"), [(0, 1, 60.0), (1, -1, 60.0), (1, 1, 0.0), (1, 1, 1e9), (2**40, 1, 60.0)]
)
def test_a_limit_of_no_sense_is_refused(
    make_cache: Callable[..., TieredCache], limit: int, cost: int, window: float
) -> None:
    """At once, by a clear error."""
    with pytest.raises(ConfigurationError):
        limiter_on(make_cache()).check("a", limit, cost, window)


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_clock_set_back_a_little_admits_no_more(
    make_cache: Callable[..., TieredCache], redis_url: str
) -> None:
    """As after a failover to a server whose clock is behind: what was admitted still counts."""
    hand = Hand()
    limiter = limiter_on(make_cache(redis_url), hand)
    assert [limiter.check("a", 2).allowed for _ in range(2)] == [True, True]
    hand.ms -= 30_000
    assert not limiter.check("a", 2).allowed
    hand.ms -= 3_600_000  # no such clock: the key is made up, or its server was wrong by hours
    assert limiter.check("a", 2).allowed
