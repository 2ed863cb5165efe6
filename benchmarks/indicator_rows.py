"""Rows of indicators: all of them over 500 candles, beside TA-Lib's own calls of the same functions."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from benchmarks.racing import Statement, race
from benchmarks.rows import Row, in_words, micros
from benchmarks.stage import Stage
from shivx.indicators import library
from shivx.indicators.computing import compute
from shivx.indicators.prices import Prices
from shivx.indicators.specs import parse_spec

CANDLES = 500
LIMIT = 1.5
"""Times TA-Lib's own time, encoding aside."""
OURS, THEIRS, ENCODED = "computed here", "TA-Lib's own calls", "encoding"


def all_of_them(stage: Stage) -> Iterator[Row]:
    """Every function with its defaults over the same candles, and what JSON of the results takes."""
    prices = _candles()
    specs = [parse_spec(name) for name in library.functions()]
    calls = [
        (spec.function.call, [*(prices[name] for name in spec.function.inputs), *spec.values])
        for spec in specs
    ]
    results = [[values.tolist() for values in compute(spec, prices).values()] for spec in specs]
    names = {"compute": compute, "Prices": Prices, "specs": specs, "times": prices.times, "rows": prices.rows}
    times = race(
        [
            Statement(
                OURS, "prices = Prices(times, rows)\nfor spec in specs:\n    compute(spec, prices)", **names
            ),
            Statement(THEIRS, "for call, arguments in calls:\n    call(*arguments)", calls=calls),
            Statement(ENCODED, "encode(results)", encode=msgspec.json.encode, results=results),
        ],
        stage.sizes.pace,
    )
    ratio = times.ratio(OURS, lambda turn: turn[THEIRS])
    yield Row(
        f"{len(specs)} indicators of {CANDLES} candles",
        f"≤ {LIMIT} of TA-Lib's own time, plus encoding",
        f"{ratio:.2f}: {in_words(times.median(OURS))}, plus {in_words(times.median(ENCODED))}",
        f"TA-Lib {in_words(times.median(THEIRS))}",
        ratio <= LIMIT,
        micros(times) | {"of TA-Lib's own time": round(ratio, 3)},
    )


def _candles() -> Prices:
    """Return candles of a price that walks at random, with ticks: some closes are those before."""
    random = np.random.default_rng(1)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.01, CANDLES))), 2)
    begin = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(begin, close) + np.round(np.abs(random.normal(0, 0.5, CANDLES)), 2)
    low = np.minimum(begin, close) - np.round(np.abs(random.normal(0, 0.5, CANDLES)), 2)
    return Prices(np.arange(CANDLES), np.stack([begin, high, low, close, random.gamma(2, 10, CANDLES)]))
