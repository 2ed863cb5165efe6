"""Candles of a larger timeframe, made exactly from those of a smaller one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Context, Decimal

from shivx.models import TIMEFRAMES, Candle, Digits

_EXACT = Context(prec=200)
"""Digits have at most 80 characters; sums of a few thousand of them stay exact."""


def base_of(timeframe: str, native: Sequence[str]) -> str | None:
    """Return the largest of *native* timeframes that *timeframe* is a multiple of; None if there is none."""
    length = TIMEFRAMES[timeframe]
    fitting = [name for name in native if name in TIMEFRAMES and length % TIMEFRAMES[name] == 0]
    return max(fitting, key=TIMEFRAMES.__getitem__, default=None)


def aggregate(candles: Iterable[Candle], timeframe: str) -> tuple[Candle, ...]:
    """Return *candles*, oldest first, merged into those of *timeframe*; periods without any stay gaps."""
    length = TIMEFRAMES[timeframe]
    groups: dict[int, list[Candle]] = {}
    for candle in candles:
        groups.setdefault(candle[0] - candle[0] % length, []).append(candle)
    return tuple(_merged(start, group) for start, group in groups.items())


def _merged(start: int, group: Sequence[Candle]) -> Candle:
    volume = Decimal(0)
    for candle in group:
        volume = _EXACT.add(volume, Decimal(candle[5]))
    high: Digits = max((candle[2] for candle in group), key=Decimal)
    low: Digits = min((candle[3] for candle in group), key=Decimal)
    return (start, group[0][1], high, low, group[-1][4], f"{volume:f}")
