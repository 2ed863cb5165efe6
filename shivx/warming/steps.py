"""What of a pair is loaded ahead: what clients ask for who ask for nothing special."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shivx.indicators.specs import USUAL, parse_specs
from shivx.ml.kinds import MODELS
from shivx.models import TIMEFRAMES
from shivx.warming.targets import Target
from shivx.wiring import Services

TIMEFRAME = "1h"
CANDLES = 100
DEPTH = 20
Step = Callable[[Services, Target], object]


def _candles(services: Services, target: Target) -> None:
    length = TIMEFRAMES[TIMEFRAME]
    until = services.candles.closed_until(TIMEFRAME) + length  # the open one too
    since = until - CANDLES * length
    services.candles.candles(*target, TIMEFRAME, since, until, closed=False)


def _indicators(services: Services, target: Target) -> None:
    specs = parse_specs(USUAL).values()
    services.indicators.indicators(*target, TIMEFRAME, specs, series=False, include_open=False)


def _predictions(services: Services, target: Target) -> None:
    for model in MODELS:
        found = services.predictions.predictions(target.source, [target.pair], model)[target.pair]
        if isinstance(found, Exception):
            raise found


STEPS: Mapping[str, Step] = {
    "orderbook": lambda services, target: services.market.order_book(*target, DEPTH),
    "trades": lambda services, target: services.market.trades(*target),
    "candles": _candles,
    "indicators": _indicators,
    "predictions": _predictions,
}
"""By name, in the order in which one makes use of another; prices are loaded before, all at once."""
