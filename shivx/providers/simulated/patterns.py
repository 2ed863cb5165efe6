"""The library of ways in which the trades of one minute may lie: when, how far off the path, how large.

A minute has twelve slots of five seconds, each with one trade or none. Drawing each slot's price and amount
afresh would make a day cost 17280 draws of each; taking one of 3072 patterns, scaled by what the minute is
like, costs one draw. The sums over a pattern are known, so a minute's volume is exact without its trades.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shivx.providers.simulated.chance import Floats, hash_bits, normal, stream_key, uniform
from shivx.providers.simulated.listing import Liquidity

SLOTS = 12
SLOT_MS = 5_000
ROWS = 1024  # patterns of each liquidity; a power of two, so that the low bits of a hash choose one

_FILLED = {Liquidity.BUSY: 0.9, Liquidity.NORMAL: 0.45, Liquidity.QUIET: 0.08}
_TYPICAL_WEIGHT = 16.0
_LEAST_CHANCE = 0.05  # bounds the heavy tail of weights: the largest is 20 typical ones

MEAN_WEIGHT = 49.0
"""Of a trade, near enough: 16 times the integral of 1/(u + 0.05) over [0, 1], rounded down."""

EXTRA_UNITS = 64
"""Amounts of one minute would share a factor; so each gets up to so many units more, less one."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Patterns:
    """Arrays of shape (SLOTS, patterns), or (patterns,) for sums; section n is for ``Liquidity(n)``.

    A trade's price is where the line from the minute's start to its end is at `elapsed` (0 to 1), plus
    `detour` times the minute's deviation. A slot without trade repeats the one before it, or the first:
    that changes no extreme, and makes slot 0 the first trade and slot 11 the last. A trade's amount is the
    minute's unit times `weight`, plus `extra`; both are 0 in a slot without trade.
    """

    filled: NDArray[np.bool_]
    elapsed: Floats
    detour: Floats
    weight: Integers
    extra: Integers
    trades: Integers
    total_weight: Integers
    total_extra: Integers


def make_patterns(seed: int) -> Patterns:
    """Return the library of *seed*."""
    cells = np.arange(SLOTS * ROWS * len(Liquidity), dtype=np.uint64).reshape(SLOTS, -1)
    filled = _fill(seed, cells)
    elapsed = np.repeat((np.arange(SLOTS) + 1.0)[:, np.newaxis] / SLOTS, cells.shape[1], axis=1)
    detour = _bridges(normal(hash_bits(stream_key(seed, "detour"), cells)))
    _repeat_over_gaps(filled, elapsed, detour)
    chance = uniform(hash_bits(stream_key(seed, "weight"), cells))
    weight = np.floor(_TYPICAL_WEIGHT / (chance + _LEAST_CHANCE)).astype(np.int64) * filled
    extra = (hash_bits(stream_key(seed, "extra"), cells) % np.uint64(EXTRA_UNITS)).astype(np.int64) * filled
    return Patterns(
        filled=filled,
        elapsed=elapsed,
        detour=detour,
        weight=weight,
        extra=extra,
        trades=filled.sum(axis=0, dtype=np.int64),
        total_weight=weight.sum(axis=0),
        total_extra=extra.sum(axis=0),
    )


def _fill(seed: int, cells: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Choose the slots that have a trade; only a quiet pair may have a minute without any."""
    share = np.repeat([_FILLED[liquidity] for liquidity in Liquidity], ROWS)
    filled = uniform(hash_bits(stream_key(seed, "filled"), cells)) < share
    slot = hash_bits(stream_key(seed, "only trade"), cells[0]) % np.uint64(SLOTS)
    idle = np.flatnonzero(filled[:, : Liquidity.QUIET * ROWS].max(axis=0) == 0)
    filled[slot[idle], idle] = True
    return filled


def _bridges(steps: Floats) -> Floats:
    """Return Brownian bridges over one minute from *steps* of variance 1: 0 again in the last slot."""
    walk = np.zeros_like(steps)
    total = np.zeros_like(steps[0])
    for slot, step in enumerate(steps / np.sqrt(float(SLOTS))):
        total += step
        walk[slot] = total
    for slot in range(SLOTS):
        walk[slot] -= total * ((slot + 1.0) / SLOTS)
    return walk


def _repeat_over_gaps(filled: NDArray[np.bool_], *tables: Floats) -> None:
    first = filled.argmax(axis=0)
    columns = np.arange(filled.shape[1])
    for table in tables:
        table[0] = table[first, columns]
        for slot in range(1, SLOTS):
            table[slot] = np.where(filled[slot], table[slot], table[slot - 1])
