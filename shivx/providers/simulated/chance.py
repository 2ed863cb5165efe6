"""Randomness without state: the n-th draw of a named stream is a hash of (stream, n).

Every float here comes from integer operations and + - * / sqrt floor alone, whose results IEEE 754 fixes to
the last bit. So any two machines, with or without SIMD, see the same draws.
"""

from __future__ import annotations

import math
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
Floats = NDArray[np.float64]

# Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014 (SplitMix64, variant 13).
_STRIDE = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)

_SPARE_FACTOR = np.uint64(0xD6E8FEB86659FD93)  # odd, so that multiplying by it loses nothing
_FRACTION_SHIFT = np.uint64(11)  # 64 - 53: a double holds 53 bits
_FRACTION_UNIT = 2.0**-53

_MEAN_OF_ONES = 32.5  # 64 fair coins, plus the half that a uniform draw has on average
_SCALE = 1 / math.sqrt(64 / 4 + 1 / 12)  # one over the standard deviation of that sum


def stream_key(seed: int, *names: object) -> np.uint64:
    """Return the key of the stream that *seed* and *names* spell."""
    text = "/".join(map(str, (seed, *names)))
    return np.uint64(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little"))


def hash_bits(key: np.uint64 | Bits, counters: Bits) -> Bits:
    """Return 64 random bits for each of *counters*; *key* is one or an array that fits them."""
    bits = counters * _STRIDE
    bits += key
    bits ^= bits >> _SHIFT_30
    bits *= _FIRST_FACTOR
    bits ^= bits >> _SHIFT_27
    bits *= _SECOND_FACTOR
    bits ^= bits >> _SHIFT_31
    return bits


def uniform(bits: Bits) -> Floats:
    """Return a number in [0, 1) from the upper 53 of each 64 *bits*; the lower eleven stay unused."""
    fractions = (bits >> _FRACTION_SHIFT).view(np.int64).astype(np.float64)
    fractions *= _FRACTION_UNIT
    return fractions


def normal(bits: Bits) -> Floats:
    """Return a number of mean 0 and variance 1 from each 64 *bits*, at most 8.1 away from 0.

    The count of ones among 64 bits is binomial, a uniform draw fills the gaps between whole numbers. The
    sum's kurtosis is 2.97 where a Gaussian has 3, and it needs no logarithm, which each CPU rounds its own
    way.
    """
    fill = uniform(bits * _SPARE_FACTOR)
    fill -= _MEAN_OF_ONES
    fill += np.bitwise_count(bits)
    fill *= _SCALE
    return fill
