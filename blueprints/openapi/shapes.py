"""The shapes of answers. Fields may be added to any of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from cache_ext.coherence.preview import Preview
from cache_ext.explain.answers import KeyTold

Amount = float | Annotated[str, Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
"""A price or amount with the exchange's own digits: a number, or with `numbers=string` a string."""
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Row = Annotated[list[Amount], Meta(min_length=6, max_length=6)]
Level = Annotated[list[Amount], Meta(min_length=2, max_length=2)]


class Problem(Struct):
    """What went wrong (RFC 9457); `code` is for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ParameterError]


class ParameterError(Struct):
    """What is wrong with one parameter."""

    parameter: str
    code: str
    detail: str


class Fact(Struct, kw_only=True):
    """Where an answer comes from: `as_of` is the exchange's time, `received_at` ours."""

    source: str
    as_of: Moment | None
    received_at: Moment
    stale: bool


class Market(Struct):
    """A pair and its rules; null where the exchange says nothing."""

    pair: str
    base: str
    quote: str
    status: str
    price_increment: Amount | None
    amount_increment: Amount | None
    min_amount: Amount | None
    min_notional: Amount | None


class Pairs(Fact, kw_only=True):
    """What a source trades; `max_history`: candles back from now."""

    pairs: list[Market]
    timeframes: list[str]
    max_history: int | None


class Price(Fact, kw_only=True):
    """The price of a pair now and over the last 24 hours."""

    pair: str
    price: Amount
    bid: Amount | None
    ask: Amount | None
    high_24h: Amount | None
    low_24h: Amount | None
    volume_24h: Amount | None
    quote_volume_24h: Amount | None
    change_24h_percent: float | None


class Prices(Struct):
    """Prices by pair, and the problems of the others."""

    prices: dict[str, Price]
    errors: dict[str, Problem]


class OrderBook(Fact, kw_only=True):
    """Price and amount of each level, best first."""

    pair: str
    bids: list[Level]
    asks: list[Level]


class Candles(Fact, kw_only=True):
    """Open time (Unix ms), open, high, low, close, volume of each; oldest first."""

    pair: str
    timeframe: str
    candles: list[Row]
    open_candle: bool
    complete: bool
    next: str | None


class Trade(Struct):
    """An execution; `side` is the taker's."""

    id: str
    price: Amount
    amount: Amount
    side: Literal["buy", "sell"]
    at: Moment


class Trades(Fact, kw_only=True):
    """The latest trades, newest first."""

    pair: str
    trades: list[Trade]
    next: str | None


class Token(Fact, kw_only=True):
    """A currency; `precision`: decimal places."""

    symbol: str
    name: str | None
    precision: int | None
    active: bool | None


class IndicatorParameter(Struct):
    """A parameter of an indicator."""

    name: str
    title: str
    type: Literal["integer", "number"]
    min: float
    max: float
    default: float | None
    default_from: str | None
    choices: Any


class Indicator(Struct):
    """A function, and how it may be asked for."""

    name: str
    aliases: list[str]
    title: str
    group: str
    inputs: list[str]
    parameters: list[IndicatorParameter]
    outputs: list[str]
    lookback: int
    warm_up: int | None
    anchored: bool
    reading: dict[str, Any] | None


class IndicatorListing(Struct):
    """All functions."""

    indicators: list[Indicator]


class Indicators(Fact, kw_only=True):
    """Values by the name asked for; each output by its name, one alone as `value`."""

    pair: str
    timeframe: str
    candles_until: Moment | None
    indicators: dict[str, dict[str, Any]]


class Correlation(Fact, kw_only=True):
    """From -1 to 1, rows and columns in the order of `pairs`; `returns`: of how many each is made."""

    pairs: list[str]
    matrix: list[list[float | None]]
    returns: list[list[int]]
    timeframe: str
    window: int
    candles_until: Moment | None


class Model(Struct, omit_defaults=True):
    """A version of a model, beside the naive prior; null while it is not trained."""

    name: str
    kind: str
    classes: list[str]
    version: str | None
    trained_at: Moment | None
    metrics: dict[str, float] | None
    prior: dict[str, float] | None
    beats_naive: bool | None
    active: bool
    horizon_seconds: int | None = None
    rows: dict[str, int] | None = None


class Models(Struct):
    """All versions of all models, newest first."""

    models: list[Model]


class Prediction(Fact, kw_only=True):
    """What a model says of a pair."""

    pair: str
    model: str
    version: str
    prediction: str
    confidence: float
    probabilities: dict[str, float]
    expected_move_percent: float | None
    horizon_seconds: int
    beats_naive: bool
    candles_until: Moment


class Predictions(Struct):
    """Predictions by pair, and the problems of the others."""

    predictions: dict[str, Prediction]
    errors: dict[str, Problem]


class Previewed(Preview, kw_only=True, frozen=True):
    """What an invalidation would hit."""

    dry_run: bool


class ExplainedKey(KeyTold, kw_only=True, frozen=True):
    """What is known of a key; `path`: by which it was asked for."""

    source: str | None
    path: str | None
