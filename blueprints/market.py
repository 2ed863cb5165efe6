"""``/api/market``: pairs, prices, books, candles, trades, tokens."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from flask import Blueprint, Response, current_app, request
from msgspec import Meta, Struct
from msgspec.structs import replace

from blueprints.answers import answer, as_asked, broken_batch, wants_fresh
from blueprints.asked import NUMBERS, TIMEFRAME, boolean, cursor, integer, pairs
from blueprints.parameters import Query
from blueprints.problems import batch_status, problem
from shivx.cursors import encode_cursor
from shivx.errors import UnknownPair
from shivx.models import TIMEFRAMES, Trade
from shivx.render import (
    render_batch,
    render_book,
    render_candles,
    render_catalogue,
    render_ticker,
    render_token,
    render_trades,
)
from shivx.services import Answer
from shivx.times import MAX_MS
from shivx.wiring import Services, services_of

market = Blueprint("market", __name__, url_prefix="/api/market")

MAX_DEPTH = 500
MAX_CANDLES = 1000
MAX_TRADES = 500


class CandlePosition(Struct, frozen=True, array_like=True, tag="candles"):
    """Where the next page of candles begins, Unix ms."""

    since: Annotated[int, Meta(ge=0, le=MAX_MS)]


class TradePosition(Struct, frozen=True, array_like=True, tag="trades"):
    """The last trade of a page: its time, Unix ms, and its id."""

    at: Annotated[int, Meta(ge=0, le=MAX_MS)]
    id: str


PAIRS = pairs()
DEPTH = integer("depth", "Levels a side, best first.", default=20, low=1, high=MAX_DEPTH)
CANDLES = integer("limit", "Candles of a page.", default=100, low=1, high=MAX_CANDLES)
CLOSED = boolean("closed", "Leave out the candle that may still change.")
TRADES = integer("limit", "Trades of a page.", default=100, low=1, high=MAX_TRADES)
CANDLE_CURSOR, TRADE_CURSOR = cursor(CandlePosition), cursor(TradePosition)


def _services() -> Services:
    return services_of(current_app)


@market.get("/pairs")
def list_pairs() -> Response:
    """Return all pairs of a source with its rules for them, and the timeframes of its candles."""
    services = _services()
    with Query(request.environ) as query:
        source = query.source(services.market.sources)
        numbers = NUMBERS.read(query)
    found = services.market.catalogue(source, fresh=wants_fresh())
    body = render_catalogue(
        found.fact,
        services.candles.timeframes(found.fact),
        source=source,
        stale=found.stale,
        numbers=numbers,
    )
    return answer(body, found, services.policies.catalogue)


@market.get("/price/<pair>")
def get_price(pair: str) -> Response:
    """Return the price of a pair now and over the last 24 hours."""
    services = _services()
    with Query(request.environ) as query:
        name = query.pair(pair)
        source = query.source(services.market.sources)
        numbers = NUMBERS.read(query)
    found = services.market.price(source, name)
    body = render_ticker(found.fact, source=source, stale=found.stale, numbers=numbers)
    return answer(body, found, services.policies.price)


@market.get("/prices")
def get_prices() -> Response:
    """Return the prices of up to 100 pairs, and what went wrong with the others."""
    services = _services()
    with Query(request.environ) as query:
        names = PAIRS.read(query)
        source = query.source(services.market.sources)
        numbers = NUMBERS.read(query)
    found = {pair: as_asked(result) for pair, result in services.market.prices(source, names).items()}
    served = {pair: result for pair, result in found.items() if not isinstance(result, Exception)}
    failed = {pair: result for pair, result in found.items() if isinstance(result, Exception)}
    items = {
        pair: render_ticker(result.fact, source=source, stale=result.stale, numbers=numbers)
        for pair, result in served.items()
    }
    errors = {pair: problem(error, "pairs") for pair, error in failed.items()}
    body, freshness = render_batch("prices", items, errors), Answer.of(None, served.values())
    if served and all(isinstance(error, UnknownPair) for error in failed.values()):
        return answer(body, freshness, services.policies.price)
    return broken_batch(body, freshness, failed.values(), batch_status(len(items), errors.values()))


@market.get("/orderbook/<pair>")
def get_order_book(pair: str) -> Response:
    """Return the best levels of a pair's book."""
    services = _services()
    with Query(request.environ) as query:
        name = query.pair(pair)
        depth = DEPTH.read(query)
        source = query.source(services.market.sources)
        numbers = NUMBERS.read(query)
    found = services.market.order_book(source, name, depth)
    body = render_book(found.fact, depth, source=source, stale=found.stale, numbers=numbers)
    return answer(body, found, services.policies.orderbook)


@market.get("/ohlcv/<pair>")
def list_candles(pair: str) -> Response:
    """Return candles, oldest first: the latest, or those from ``since`` on; ``next`` leads to the rest."""
    services = _services()
    with Query(request.environ) as query:
        name = query.pair(pair)
        timeframe = TIMEFRAME.read(query)
        limit = CANDLES.read(query)
        since, until = query.period()
        position = CANDLE_CURSOR.read(query)
        closed = CLOSED.read(query)
        source = query.source(services.market.sources)
        numbers = NUMBERS.read(query)
    since = since if position is None else position.since
    asked = _period(services, timeframe, limit, since, until, closed)
    found = services.candles.candles(
        source, name, timeframe, asked.start, asked.stop, closed=closed, fresh=wants_fresh()
    )
    body = render_candles(
        found.fact.candles,
        open_candle=found.fact.open_candle,
        complete=found.fact.complete,
        next_cursor=encode_cursor(CandlePosition(asked.stop)) if asked.stop < asked.end else None,
        source=source,
        stale=found.stale,
        numbers=numbers,
    )
    return answer(body, found, services.policies.forming_candles)


class _Period(NamedTuple):
    """Open times, Unix ms: this page is from `start` to `stop`, all that was asked for ends at `end`."""

    start: int
    stop: int
    end: int


def _period(
    services: Services, timeframe: str, limit: int, since: int | None, until: int | None, closed: bool
) -> _Period:
    length = TIMEFRAMES[timeframe]
    now = services.candles.closed_until(timeframe) if closed else services.candles.now_ms() + 1
    end = _ceil(now if until is None else min(until, now), length)
    if since is None:
        return _Period(max(0, end - limit * length), end, end)
    start = _ceil(since, length)
    return _Period(start, min(end, start + limit * length), end)


def _ceil(moment: int, step: int) -> int:
    return -(-moment // step) * step


@market.get("/trades/<pair>")
def list_trades(pair: str) -> Response:
    """Return the latest trades of a pair, newest first; ``next`` leads to older ones."""
    services = _services()
    with Query(request.environ) as query:
        name = query.pair(pair)
        limit = TRADES.read(query)
        position = TRADE_CURSOR.read(query)
        source = query.source(services.market.sources)
        numbers = NUMBERS.read(query)
    found = services.market.trades(source, name)
    older = _after(found.fact.trades, position)
    page = replace(found.fact, trades=older[:limit])
    more = len(older) > limit
    body = render_trades(
        page,
        limit,
        next_cursor=encode_cursor(TradePosition(page.trades[-1].at, page.trades[-1].id)) if more else None,
        source=source,
        stale=found.stale,
        numbers=numbers,
    )
    return answer(body, found, services.policies.trades)


def _after(trades: tuple[Trade, ...], position: TradePosition | None) -> tuple[Trade, ...]:
    """Return the trades that are older than *position*, itself left out, though it may be gone by now."""
    if position is None:
        return trades
    for at, trade in enumerate(trades):
        if (trade.at, trade.id) == (position.at, position.id):
            return trades[at + 1 :]
    return tuple(trade for trade in trades if trade.at < position.at)


@market.get("/tokens/<symbol>")
def get_token(symbol: str) -> Response:
    """Return what a source says of a currency."""
    services = _services()
    with Query(request.environ) as query:
        name = query.symbol(symbol)
        source = query.source(services.market.sources)
    found, token = services.market.token(source, name, fresh=wants_fresh())
    body = render_token(token, found.fact, source=source, stale=found.stale)
    return answer(body, found, services.policies.catalogue)
