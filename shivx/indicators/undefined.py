"""Where an indicator has no value though TA-Lib returns a number: nothing moved, and 0 / 0 is not 0.

An oscillator divides by what moved within its period. If nothing did, TA-Lib returns 0, or 50, or what was
left by rounding. Here is, per function, in how long a standstill that happens; smoothed values are without
value until the last of what they are made of has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from shivx.indicators import library
from shivx.indicators.prices import Prices, Runs, Truths, runs_of
from shivx.indicators.settling import memory_of
from shivx.indicators.specs import Spec

RSI_SPREAD = 1e-9
"""An RSI (0 to 100) that changes by less stands still: rounding alone."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """When a function has no value.

    Args:
        run: the length of what stands still, at each candle, as `Prices` has it.
        enough: from which length on there is no value.
        smoothed: whether values after it are made of it too.
    """

    run: Callable[[Spec, Prices], Runs | None]
    enough: Callable[[Spec], int]
    smoothed: bool = False


def mask_undefined(spec: Spec, prices: Prices) -> Truths | None:
    """Return where *spec* has no value for want of movement; None if nowhere."""
    mask: Truths | None = None
    for rule in RULES.get(spec.name, ()):
        run = rule.run(spec, prices)
        if run is None:
            continue
        enough = max(1, rule.enough(spec))
        if run.longest < enough:
            continue
        hits = run.lengths >= enough
        if rule.smoothed:
            places = np.arange(len(hits))
            last = np.maximum.accumulate(np.where(hits, places, -len(hits)))
            hits = places - last <= max(0, memory_of(spec) + 1 - enough)
        mask = hits if mask is None else mask | hits
    return mask


def _stored(name: str) -> Callable[[Spec, Prices], Runs | None]:
    """Return how to get the runs that `Prices` has under *name*."""

    def run(spec: Spec, prices: Prices) -> Runs | None:
        found: Runs | None = getattr(prices, name)
        return found

    return run


def _level_rsi(spec: Spec, prices: Prices) -> Runs | None:
    """Return where, within `fastk_period` candles, the RSI did not move: how often in a row."""
    talib, period = library.load(), spec["fastk_period"]
    rsi = talib.RSI(np.ascontiguousarray(prices["close"]), spec["timeperiod"])
    if period == 1:
        return runs_of(np.ones(len(rsi), np.bool_))
    return runs_of(talib.MAX(rsi, period) - talib.MIN(rsi, period) <= RSI_SPREAD)


def _no_volume_yet(spec: Spec, prices: Prices) -> Runs | None:
    """Return how many candles there were before the first with a volume."""
    return None if prices["volume"][:1].any() else runs_of(np.cumsum(prices["volume"]) == 0)


def _of(parameter: str, more: int = 0) -> Callable[[Spec], int]:
    return lambda spec: spec[parameter] + more


def _lookback(spec: Spec) -> int:
    return spec.lookback


def _one(spec: Spec) -> int:
    return 1


def _shortest(spec: Spec) -> int:
    return int(min(spec.values)) + 1


_closes, _flat = _stored("unmoved_closes"), _stored("flat")
_points, _no_volume = _stored("points"), _stored("without_volume")
_no_change = Standstill(_closes, _of("timeperiod"))
_no_range = Standstill(_flat, _of("timeperiod", 1))
_no_direction = Standstill(_stored("directionless"), _of("timeperiod"))
_no_cycle = Standstill(_closes, _lookback)

RULES: Mapping[str, tuple[Standstill, ...]] = {
    "adx": (_no_range, _no_direction),
    "adxr": (_no_range, _no_direction),
    "beta": (
        Standstill(_stored("unmoved_highs"), _of("timeperiod")),
        Standstill(_stored("unmoved_lows"), _of("timeperiod")),
    ),
    "bop": (Standstill(_points, _one),),
    "cci": (Standstill(_stored("unmoved_typicals"), _of("timeperiod", -1)),),
    "cmf": (Standstill(_no_volume, _of("timeperiod")),),
    "cmo": (_no_change,),
    "cmou": (_no_change,),
    "correl": (
        Standstill(_stored("unmoved_highs"), _of("timeperiod", -1)),
        Standstill(_stored("unmoved_lows"), _of("timeperiod", -1)),
    ),
    "cvi": (Standstill(_points, _of("timeperiod"), smoothed=True),),
    "dx": (_no_range, _no_direction),
    "er": (_no_change,),
    "ht_dcperiod": (_no_cycle,),
    "ht_dcphase": (_no_cycle,),
    "ht_sine": (_no_cycle,),
    "ht_trendmode": (_no_cycle,),
    "imi": (Standstill(_stored("dojis"), _of("timeperiod")),),
    "kdj": (Standstill(_flat, _of("fastk_period"), smoothed=True),),
    "marketfi": (Standstill(_no_volume, _one),),
    "massi": (Standstill(_points, _of("fastperiod"), smoothed=True),),
    "mfi": (Standstill(_stored("without_flow"), _of("timeperiod")),),
    "minus_di": (_no_range,),
    "plus_di": (_no_range,),
    "pvo": (Standstill(_no_volume, _of("slowperiod")),),
    "rsi": (_no_change,),
    "rvi": (Standstill(_closes, _lookback),),
    "smi": (Standstill(_flat, _lookback),),
    "stoch": (Standstill(_flat, _of("fastk_period"), smoothed=True),),
    "stochf": (Standstill(_flat, _of("fastk_period"), smoothed=True),),
    "stochrsi": (Standstill(_level_rsi, _one, smoothed=True),),
    "tsi": (Standstill(_closes, _lookback),),
    "ultosc": (Standstill(_flat, _shortest),),
    "vhf": (_no_change,),
    "vortex": (_no_range,),
    "vwap": (Standstill(_no_volume_yet, _one),),
    "willr": (Standstill(_flat, _of("timeperiod")),),
}
"""By function; one of its rules is enough."""
