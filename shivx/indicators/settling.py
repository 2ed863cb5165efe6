"""After how many candles a value no longer depends on where they begin: measured, since TA-Lib tells not.

An exponential average never quite forgets its first value. On reference markets each indicator is computed
twice, the second time from later candles on; how long the two differ says how long it remembers. That says
how much history to read; whether it was enough is seen on the very candles, in the same way (`is_settled`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from shivx.indicators.prices import Floats, Prices
from shivx.indicators.specs import MAX_CANDLES, Spec

AGREEMENT = 2e-10
"""Two values that differ by less, of the largest there is among their neighbours, are the same: a fifth of
what is promised, since the candles that are left out are not all there ever were."""
ENDLESS = 200
"""Candles before the first value of what never forgets where it began: enough to say something."""
RESERVE = 1.5
"""Markets differ: so much more history is read than the reference markets need."""
LEAST = 20
"""Candles that are left out at least: among so few that nothing happened, all would seem forgotten."""
SHARE = 4
"""The part of the history, one in so many, that is left out to see whether it matters."""
SCALE_CANDLES = 500
"""Neighbours by whose size a difference is judged."""
_LENGTHS = (1000, 2 * MAX_CANDLES + 1000)
_QUIET = 50
"""Candles that must agree before a difference is believed to be over."""
_STEPS = (0.0003, 0.003, 0.01, 0.03)
"""How much the reference markets move with a candle, of the price."""
_KNOWN = 4096


def memory_of(spec: Spec) -> int:
    """Return how many candles before one its value is made of, all that matter: at least the lookback."""
    remembered = _longest(spec)
    if remembered is None:
        return min(MAX_CANDLES, spec.lookback + ENDLESS) if is_endless(spec) else MAX_CANDLES
    if remembered <= spec.lookback:
        return spec.lookback
    return min(MAX_CANDLES, int(remembered * RESERVE) + 1)


def is_endless(spec: Spec) -> bool:
    """Tell whether *spec* never forgets where it began: a sum of all that has been."""
    return spec.function.path_dependent and _longest(spec) is None


def is_settled(spec: Spec, prices: Prices, found: Sequence[Floats], count: int) -> bool:
    """Tell whether the last *count* values of *found* would be the same without the first of *prices*.

    Args:
        found: what `compute` gives for *spec* over *prices*.
        count: at least 1.
    """
    if memory_of(spec) == spec.lookback:
        return True  # of its window alone; what its sums carry along is rounding
    later = prices.since(left_out(spec))
    if is_endless(spec) or len(later) < count:
        return False
    return all(_agree(one, other, count) for one, other in zip(found, _raw(spec, later), strict=True))


def _agree(one: Floats, other: Floats, count: int) -> bool:
    sizes = np.abs(one[-SCALE_CANDLES:])
    size = sizes[~np.isnan(sizes)].max(initial=0.0)
    one, other = one[-count:], other[-count:]
    return bool(np.all((np.abs(one - other) <= AGREEMENT * size) | np.isnan(one)))


def left_out(spec: Spec) -> int:
    """Return how many of the first candles `is_settled` leaves out."""
    return max(LEAST, (memory_of(spec) - spec.lookback) // SHARE)


@lru_cache(_KNOWN)
def _longest(spec: Spec) -> int | None:
    """Return how long *spec* takes to forget where it began, on any reference market; None if too long."""
    if spec.lookback >= MAX_CANDLES:
        return None
    for length in _LENGTHS:
        found = [_remembered(spec, _reference(step, length)) for step in _STEPS]
        if None not in found:
            return max(each for each in found if each is not None)
    return None


def _remembered(spec: Spec, market: Prices) -> int | None:
    """Return after how many candles of *market* it no longer matters that there were others before.

    None if it is too short to show that.
    """
    begin, length = spec.lookback + LEAST, len(market)
    if length < 2 * begin + _QUIET:
        return None
    apart = np.zeros(length - begin, np.bool_)
    for whole, other in zip(_raw(spec, market), _raw(spec, market.since(begin)), strict=True):
        one = whole[begin:]
        apart |= ~(np.abs(one - other) <= AGREEMENT * np.abs(one[spec.lookback :]).max())
    apart[: spec.lookback] = False
    last = int(np.flatnonzero(apart)[-1]) + 1 if apart.any() else 0
    return last if last <= length - begin - _QUIET else None


def _raw(spec: Spec, prices: Prices) -> list[Floats]:
    found = spec.function.call(*[prices[name] for name in spec.function.inputs], *spec.values)
    return list(found) if isinstance(found, tuple) else [found]


@cache
def _reference(step: float, length: int) -> Prices:
    """Return a market of *length* candles that moves by *step* with each, the same in every process."""
    random = np.random.default_rng(length)
    close = 100 * np.exp(np.cumsum(random.normal(0, step, length)))
    begin = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(begin, close) * (1 + np.abs(random.normal(0, step / 2, length)))
    low = np.minimum(begin, close) * (1 - np.abs(random.normal(0, step / 2, length)))
    volume = random.gamma(2, 10, length)
    return Prices(np.arange(length), np.stack([begin, high, low, close, volume]))
