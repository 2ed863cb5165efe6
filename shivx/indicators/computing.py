"""One indicator over candles: an array per output, NaN wherever there is no value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shivx.indicators import library
from shivx.indicators.prices import Floats, Prices, Truths
from shivx.indicators.specs import Spec
from shivx.indicators.undefined import RULES, mask_undefined


def compute(spec: Spec, prices: Prices) -> dict[str, Floats]:
    """Return the outputs of *spec* over *prices*, one value a candle, by name.

    A value is NaN where there is none: too few candles before it, a hole in what it is made of (what comes
    after a hole starts afresh), or nothing moved that it could be a ratio of (see `undefined`). Closed
    candles only, or with the open one: as *prices* has them; a value depends on none that comes later.
    """
    if prices.all_sound:
        return _of_sound(spec, prices)
    inputs = [library.PRICES.index(name) for name in spec.function.inputs]
    found = {name: np.full(len(prices), np.nan) for name in spec.outputs}
    sound: Truths = np.logical_and.reduce(prices.sound[inputs])
    for first, last in _stretches(sound):
        part = _of_sound(spec, prices.between(first, last))
        for name, values in part.items():
            found[name][first:last] = values
    return found


def _of_sound(spec: Spec, prices: Prices) -> dict[str, Floats]:
    function = spec.function
    rows = prices.named
    found = function.call(*[rows[name] for name in function.inputs], *spec.values)
    arrays = found if isinstance(found, tuple) else (found,)
    if function.may_be_infinite or function.whole:
        arrays = tuple([_as_doubles(spec, array) for array in arrays])
    if spec.name in RULES:
        mask = mask_undefined(spec, prices)
        if mask is not None:
            for array in arrays:
                array[mask] = np.nan
    if len(arrays) == 1:
        return {spec.outputs[0]: arrays[0]}
    return dict(zip(spec.outputs, arrays, strict=True))


def _as_doubles(spec: Spec, array: np.ndarray) -> Floats:
    """Return *array* as doubles: TA-Lib has no whole number for "none", and puts 0."""
    if array.dtype.kind == "f":
        if spec.function.may_be_infinite:
            array[~np.isfinite(array)] = np.nan
        return array
    doubles: Floats = array.astype(np.float64)
    doubles[: spec.lookback] = np.nan
    return doubles


def _stretches(sound: Truths) -> Iterator[tuple[int, int]]:
    """Yield from where to where *sound* is true without a break."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], sound, [False])).astype(np.int8)))
    for first, last in edges.reshape(-1, 2):
        yield int(first), int(last)
