"""What the simulated prices are made of: trading time, Brownian paths in it, patterns of trades."""

from __future__ import annotations

import numpy as np
import pytest

from shivx.providers.simulated.listing import Liquidity
from shivx.providers.simulated.motion import BLOCK, BLOCKS_PER_ERA, Motion
from shivx.providers.simulated.patterns import MEAN_WEIGHT, ROWS, SLOTS, make_patterns

ERA = 28
FIRST = ERA * BLOCKS_PER_ERA  # its first block
MOTION = Motion(seed=1)


def test_trading_time_of_an_era_is_its_minutes():
    """However unevenly it runs, trading time is never negative and an era has 2**20 of it."""
    elapsed = MOTION.clock(FIRST, BLOCKS_PER_ERA).elapsed
    assert elapsed.min() >= 0.0
    assert elapsed.sum() == pytest.approx(BLOCKS_PER_ERA * BLOCK, rel=1e-9)
    assert elapsed.max() > 20.0


def test_steps_are_gaussian_in_trading_time():
    """Steps over the root of their trading time have variance 1, kurtosis 3 and no memory."""
    path = MOTION.path("BTC", FIRST, BLOCKS_PER_ERA)
    steps = (np.diff(path, axis=1) / np.sqrt(MOTION.clock(FIRST, BLOCKS_PER_ERA).elapsed)).ravel()
    assert steps.mean() == pytest.approx(0.0, abs=0.005)
    assert steps.var() == pytest.approx(1.0, abs=0.01)
    assert (steps**4).mean() == pytest.approx(3.0, abs=0.1)
    assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 0.005


def test_paths_meet_where_blocks_and_eras_do():
    """Each block begins where the one before ended, and eras begin and end at 0."""
    path = MOTION.path("BTC", FIRST - 3, 6)
    assert (path[1:, 0] == path[:-1, -1]).all()
    assert path[3, 0] == 0.0


def test_block_alone_is_the_same_as_among_others():
    """Paths and trading time do not depend on how many blocks are asked for at once."""
    many, times = MOTION.path("ETH", FIRST - 2, 5), MOTION.clock(FIRST - 2, 5).elapsed
    for row in range(5):
        assert (MOTION.path("ETH", FIRST - 2 + row, 1)[0] == many[row]).all()
        assert (MOTION.clock(FIRST - 2 + row, 1).elapsed[0] == times[row]).all()


def test_paths_of_two_streams_are_independent():
    """What moves one currency alone moves no other."""
    steps = [np.diff(MOTION.path(stream, FIRST, 200), axis=1).ravel() for stream in ("BTC", "ETH", "market")]
    assert np.abs(np.corrcoef(steps) - np.eye(3)).max() < 0.05


@pytest.mark.parametrize("seed", range(10))
def test_only_quiet_patterns_may_be_empty(seed):
    """Each busy or normal pattern has a trade; their sums are those of their slots."""
    patterns = make_patterns(seed)
    assert patterns.trades[: Liquidity.QUIET * ROWS].min() >= 1
    assert patterns.trades[Liquidity.QUIET * ROWS :].min() == 0
    assert (patterns.trades == patterns.filled.sum(axis=0)).all()
    assert (patterns.total_weight == patterns.weight.sum(axis=0)).all()
    assert (patterns.total_extra == patterns.extra.sum(axis=0)).all()
    assert patterns.weight[patterns.filled].mean() == pytest.approx(MEAN_WEIGHT, rel=0.05)


def test_detours_end_where_the_path_does():
    """The last slot of a minute is at its end: a trade there has the path's own price."""
    patterns = make_patterns(seed=1)
    filled = patterns.filled[SLOTS - 1]
    assert patterns.elapsed[SLOTS - 1][filled] == pytest.approx(1.0)
    assert patterns.detour[SLOTS - 1][filled] == pytest.approx(0.0, abs=1e-12)
