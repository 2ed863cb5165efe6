"""Exact numbers: an exponential that no CPU rounds differently, and decimal text from integers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from shivx.models import Digits
from shivx.providers.simulated.chance import Floats

_LOG2_E = 1.4426950408889634
_LN_2 = 0.6931471805599453
_TERMS = 13  # of the Taylor series; for |x| <= ln(2)/2 the rest is below 1e-17
_COEFFICIENTS = tuple(1.0 / math.factorial(n) for n in reversed(range(_TERMS + 1)))


def exponential(x: Floats) -> Floats:
    """Return e to the *x*, within 3e-16 relative for |x| < 1, by + - * floor and powers of two alone.

    `numpy.exp` differs in the last bit between CPUs; this does not.
    """
    doublings = np.floor(x * _LOG2_E + 0.5)
    rest = x - doublings * _LN_2
    total = np.full_like(x, _COEFFICIENTS[0])
    for coefficient in _COEFFICIENTS[1:]:
        total *= rest
        total += coefficient
    return np.ldexp(total, doublings.astype(np.int32))


def digits(units: int, decimals: int) -> Digits:
    """Return *units* times ten to the minus *decimals*, >= 0, with exactly that many decimals."""
    if decimals == 0:
        return str(units)
    text = str(units).zfill(decimals + 1)
    return f"{text[:-decimals]}.{text[-decimals:]}"


def all_digits(units: Iterable[int], decimals: int) -> list[Digits]:
    """Return `digits` of each of *units*."""
    return [digits(value, decimals) for value in units]
