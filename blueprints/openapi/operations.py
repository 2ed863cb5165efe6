"""Every operation of the API: what it takes besides its path, what it answers, and what may go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blueprints.admin import AUDIT_CURSOR, EXPLAINED, ROWS, FlushBody, InvalidateBody
from blueprints.asked import NUMBERS, PERIOD, SOURCE, TIMEFRAME, Asked
from blueprints.auth import ALL, Credentials
from blueprints.entrance.once import OnceBody
from blueprints.events import EventsBody
from blueprints.indicators import CORRELATED, INCLUDE_OPEN, NAMES, OF_SERIES, WINDOW
from blueprints.keys import CURSOR, LIMIT, NewKeyBody
from blueprints.market import CANDLE_CURSOR, CANDLES, CLOSED, DEPTH, PAIRS, TRADE_CURSOR, TRADES
from blueprints.ml import MODEL
from blueprints.ml import PAIRS as PREDICTED
from blueprints.openapi import shapes, shapes_of_people
from blueprints.openapi.headers import KEPT
from blueprints.warming import WarmBody
from cache_ext.explain.answers import RequestsTold
from cache_ext.stats.report import Report
from shivx.jobs.record import Job

TEXT = "text/plain"
ANYBODY, SOMEBODY, PEOPLE, ADMINS, EVENTS = "anybody", "somebody", "people", "admins", "events"
"""Who may; people come with a session, not with a key."""
Query = tuple[Asked[Any] | str, ...]


@dataclass(frozen=True)
class Operation:
    """One operation.

    Args:
        id: its name, for generated clients.
        answer: the shape of what it answers, or several; None: nothing; `TEXT`: plain text.
        query: its parameters; a name stands for one that the application makes.
        body: the shape of what it takes.
        optional: the body may be left out.
        status: of success.
        problems: codes of `blueprints.problems.KINDS` besides those that any request may meet.
        rights: who may.
        cached: its answer is one that caches keep: with validators, freshness, and 304.
        headers: of an answer that is kept; fewer where the HTTP cache is not passed.
        more: headers of success besides.
        also: statuses that answer with the same shape.
    """

    id: str
    answer: type | tuple[type, ...] | str | None
    query: Query = ()
    body: type | None = None
    optional: bool = False
    status: int = 200
    problems: tuple[str, ...] = ()
    rights: str = ANYBODY
    cached: bool = False
    headers: tuple[str, ...] = KEPT
    more: tuple[str, ...] = ()
    also: tuple[int, ...] = ()


_ORIGIN = ("origin_invalid", "origin_unavailable", "not_cached")
_OF_PAIR = ("unknown_pair", *_ORIGIN)
_COOKIE = ("Set-Cookie", "Vary")
_KEPT = ("unavailable",)
_CHANGE = ("unavailable", "unsupported_media_type", "content_too_large")


def _market(
    id: str, answer: type, *query: Asked[Any] | str, problems: tuple[str, ...] = _OF_PAIR
) -> Operation:
    return Operation(id, answer, (*query, SOURCE), problems=problems, cached=True)


OPERATIONS: Mapping[str, Operation] = {
    "market.list_pairs": _market("listPairs", shapes.Pairs, NUMBERS, problems=_ORIGIN),
    "market.get_price": _market("getPrice", shapes.Price, NUMBERS),
    "market.get_prices": _market("getPrices", shapes.Prices, PAIRS, NUMBERS),
    "market.get_order_book": _market("getOrderBook", shapes.OrderBook, DEPTH, NUMBERS),
    "market.list_candles": _market(
        "listCandles",
        shapes.Candles,
        *(TIMEFRAME, CANDLES, *PERIOD, CANDLE_CURSOR, CLOSED, NUMBERS),
        problems=(*_OF_PAIR, "not_computable"),
    ),
    "market.list_trades": _market("listTrades", shapes.Trades, TRADES, TRADE_CURSOR, NUMBERS),
    "market.get_token": _market("getToken", shapes.Token, problems=("unknown_token", *_ORIGIN)),
    "indicators.list_indicators": Operation(
        "listIndicators", shapes.IndicatorListing, cached=True, problems=("not_cached",)
    ),
    "indicators.get_indicators": _market(
        "getIndicators",
        shapes.Indicators,
        *(TIMEFRAME, NAMES, OF_SERIES, INCLUDE_OPEN),
        problems=(*_OF_PAIR, "not_computable"),
    ),
    "indicators.get_correlation": _market(
        "getCorrelation",
        shapes.Correlation,
        *(CORRELATED, TIMEFRAME, WINDOW),
        problems=(*_OF_PAIR, "not_computable"),
    ),
    "ml.list_models": Operation("listModels", shapes.Models, cached=True, problems=("not_cached",)),
    "ml.get_prediction": _market(
        "getPrediction",
        shapes.Prediction,
        MODEL,
        problems=(*_OF_PAIR, "unknown_model", "not_computable", "model_unavailable"),
    ),
    "ml.get_predictions": _market(
        "getPredictions",
        shapes.Predictions,
        *(PREDICTED, MODEL),
        problems=(*_OF_PAIR, "unknown_model", "not_computable", "model_unavailable"),
    ),
    "ml.retrain_model": Operation(
        "retrainModel",
        Job,
        status=202,
        problems=("unknown_model", "conflict", *_KEPT),
        rights=ADMINS,
    ),
    "ml.get_job": Operation("getJob", Job, problems=("unknown_job", *_KEPT), rights=ADMINS),
    "ml.cancel_job": Operation("cancelJob", Job, problems=("unknown_job", *_KEPT), rights=ADMINS),
    "events.post_events": Operation(
        "postEvents",
        shapes_of_people.Invalidated,
        body=EventsBody,
        status=202,
        problems=_CHANGE,
        rights=EVENTS,
    ),
    "auth.login": Operation(
        "login",
        shapes_of_people.LoggedIn,
        body=Credentials,
        more=_COOKIE,
        problems=("unauthenticated", "forbidden", *_CHANGE),
    ),
    "once.enter": Operation(
        "loginOnce",
        shapes_of_people.LoggedIn,
        body=OnceBody,
        more=_COOKIE,
        problems=("unauthenticated", "forbidden", *_CHANGE),
    ),
    "auth.logout": Operation("logout", None, status=204, problems=("forbidden", *_KEPT), more=_COOKIE),
    "auth.me": Operation("getMe", shapes_of_people.Me, rights=SOMEBODY),
    "auth.list_sessions": Operation("listSessions", shapes_of_people.Sessions, rights=PEOPLE, problems=_KEPT),
    "auth.revoke_others": Operation(
        "revokeOtherSessions",
        None,
        (ALL,),
        status=204,
        rights=PEOPLE,
        more=_COOKIE,
        problems=_KEPT,
    ),
    "auth.revoke_session": Operation(
        "revokeSession", None, status=204, rights=PEOPLE, more=_COOKIE, problems=("not_found", *_KEPT)
    ),
    "keys.list_keys": Operation(
        "listKeys", shapes_of_people.Keys, (LIMIT, CURSOR), rights=SOMEBODY, problems=_KEPT
    ),
    "keys.create_key": Operation(
        "createKey",
        shapes_of_people.NewKey,
        body=NewKeyBody,
        status=201,
        rights=SOMEBODY,
        problems=("conflict", *_CHANGE),
    ),
    "keys.revoke_key": Operation(
        "revokeKey", None, status=204, rights=SOMEBODY, problems=("not_found", *_KEPT)
    ),
    "admin.list_audit": Operation(
        "listAudit", shapes_of_people.Audit, (ROWS, AUDIT_CURSOR), rights=ADMINS, problems=_KEPT
    ),
    "admin.stats": Operation("getCacheStats", Report, rights=ADMINS),
    "admin.explain": Operation("explainCache", (shapes.ExplainedKey, RequestsTold), EXPLAINED, rights=ADMINS),
    "admin.invalidate": Operation(
        "invalidateCache",
        (shapes_of_people.Done, shapes.Previewed),
        body=InvalidateBody,
        rights=ADMINS,
        problems=_CHANGE,
    ),
    "admin.flush": Operation(
        "flushCache", shapes_of_people.Flushed, body=FlushBody, rights=ADMINS, problems=_CHANGE
    ),
    "warming.warm": Operation(
        "warmCache",
        Job,
        body=WarmBody,
        optional=True,
        status=202,
        rights=ADMINS,
        problems=("conflict", *_CHANGE),
    ),
    "operations.health": Operation("getCacheHealth", shapes_of_people.Health, also=(503,)),
    "operations.healthz": Operation("getLiveness", shapes_of_people.Alive),
    "operations.readyz": Operation("getReadiness", shapes_of_people.Alive, also=(503,)),
    "operations.metrics": Operation("getMetrics", TEXT, problems=("unauthenticated",)),
    "problems.explain_problem": Operation("explainProblem", TEXT, problems=("not_found", "unauthenticated")),
    "documents.openapi": Operation("getDocument", dict, cached=True, headers=("ETag", "Cache-Control")),
}
"""By endpoint. What is missing here is a page, or its files; `once` is there in development alone."""
