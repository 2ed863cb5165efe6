"""``/api/indicators``: the catalogue, values for a pair, correlations of pairs."""

from __future__ import annotations

import math

from flask import Blueprint, Response, current_app, request

from blueprints.answers import answer
from blueprints.asked import TIMEFRAME, boolean, integer, pairs, text
from blueprints.parameters import Query
from cache_ext import CachePolicy, Outcome
from shivx.accounts.offload import off_hub
from shivx.errors import InvalidParameter
from shivx.indicators.rendering import render_correlation, render_indicators, render_listing
from shivx.indicators.specs import MAX_NAMES, MAX_SPEC_CHARACTERS, USUAL, Spec, parse_specs
from shivx.services import Answer
from shivx.services.history import SERIES
from shivx.wiring import Services, services_of

indicators = Blueprint("indicators", __name__, url_prefix="/api/indicators")

MAX_CORRELATED = 50
MAX_WINDOW = 1000
LISTING = CachePolicy(ttl=3600, name="indicator_listing")
"""What can be computed changes with a new version of the program alone."""


NAMES = text(
    "names",
    f"Indicators with their parameters, separated by commas, {MAX_NAMES} at most; `{USUAL}` if left out.",
    (MAX_NAMES + 1) * (MAX_SPEC_CHARACTERS + 1),
    USUAL,
)
OF_SERIES = integer("series", "Points before the newest that are wanted too.", default=0, low=0, high=SERIES)
INCLUDE_OPEN = boolean("include_open", "Compute with the candle that may still change.")
CORRELATED = pairs(low=2, high=MAX_CORRELATED)
WINDOW = integer("window", "Closed candles that are compared.", default=168, low=3, high=MAX_WINDOW)


def _services() -> Services:
    return services_of(current_app)


@indicators.get("")
def list_indicators() -> Response:
    """Return all functions with their inputs, parameters, outputs and warm-up."""
    Query(request.environ).finish()
    body = off_hub(render_listing)
    return answer(body, Answer(None, Outcome.HIT, 0.0, math.inf), LISTING)


@indicators.get("/<pair>")
def get_indicators(pair: str) -> Response:
    """Return the newest values of indicators of a pair, and up to 500 before."""
    services = _services()
    with Query(request.environ) as query:
        name = query.pair(pair)
        timeframe = TIMEFRAME.read(query)
        named = _names(query)
        series = OF_SERIES.read(query)
        include_open = INCLUDE_OPEN.read(query)
        source = query.source(services.market.sources)
    found = services.indicators.indicators(
        source,
        name,
        timeframe,
        named.values(),
        series=series > 0,
        include_open=include_open,
    )
    body = render_indicators(
        name, timeframe, named, found.fact, series=series, source=source, stale=found.stale
    )
    return answer(body, found, services.policies.indicators)


@indicators.get("/correlation")
def get_correlation() -> Response:
    """Return how the log returns of up to 50 pairs go together."""
    services = _services()
    with Query(request.environ) as query:
        pairs = CORRELATED.read(query)
        timeframe = TIMEFRAME.read(query)
        window = WINDOW.read(query)
        source = query.source(services.market.sources)
    found = services.indicators.correlation(source, pairs, timeframe, window)
    body = render_correlation(pairs, timeframe, window, found.fact, source=source, stale=found.stale)
    return answer(body, found, services.policies.correlation)


def _names(query: Query) -> dict[str, Spec]:
    """Return what ``names`` means, each as it is written; the usual three if it is not given."""
    given = NAMES.read(query)
    try:
        return off_hub(lambda: parse_specs(USUAL if given is None else given))
    except InvalidParameter as error:
        query.refuse(error.parameter, error.code, error.message)
        return {}
