"""Durations in buckets: whatever was put in comes out within a tenth, added up over processes."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from cache_ext.stats.durations import BOUNDS, LONGEST, SHORTEST, Durations, quantile, total

WITHIN = 0.1


def counted(*seconds: float) -> Counter[int]:
    """Return the buckets of durations of one name."""
    durations = Durations()
    for each in seconds:
        durations.observe("x", each)
    return Counter({int(bucket): count for (_, bucket), count in durations.tally.totals().items()})


@pytest.mark.parametrize("seconds", [SHORTEST, 0.00123, 0.01, 0.25, 1.0, 7.7, LONGEST])
def test_a_duration_comes_out_within_a_tenth(seconds: float) -> None:
    """Of one alone every quantile is itself."""
    for share in (0.01, 0.5, 1.0):
        assert quantile(counted(seconds), share) == pytest.approx(seconds, rel=WITHIN)


@pytest.mark.parametrize(("seconds", "bound"), [(0.0, SHORTEST), (-1.0, SHORTEST), (1e9, LONGEST)])
def test_what_is_beyond_the_bounds_counts_as_these(seconds: float, bound: float) -> None:
    """A clock that jumped breaks nothing."""
    assert quantile(counted(seconds), 0.5) == pytest.approx(bound, rel=WITHIN)


def test_quantiles_are_those_of_the_sorted_durations() -> None:
    """Of a thousand random ones."""
    chance = random.Random(7)
    made = sorted(chance.lognormvariate(-6, 1.5) for _ in range(1000))
    counts = counted(*made)
    for share in (0.5, 0.95, 0.99):
        assert quantile(counts, share) == pytest.approx(made[int(share * 1000) - 1], rel=WITHIN)


def test_sums_are_about_right() -> None:
    """The errors of many even out."""
    chance = random.Random(7)
    made = [chance.uniform(0.001, 1.0) for _ in range(1000)]
    assert total(counted(*made)) == pytest.approx(sum(made), rel=0.03)


def test_counts_of_processes_add_up() -> None:
    """The quantile of the sum is that of all durations."""
    together = counted(0.001, 0.001, 0.001) + counted(1.0, 1.0)
    assert quantile(together, 0.5) == pytest.approx(0.001, rel=WITHIN)
    assert quantile(together, 0.95) == pytest.approx(1.0, rel=WITHIN)


def test_of_nothing_there_is_no_quantile() -> None:
    """Nor an error."""
    assert quantile({}, 0.5) is None
    assert total({}) == 0.0
    assert list(BOUNDS) == sorted(BOUNDS)
