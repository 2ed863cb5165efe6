"""Market facts as the JSON that clients get.

Each function returns the bytes of one JSON object, so that a batch can embed it as it is (`render_batch`).
Every answer ends with where it comes from: `source`, `as_of`, `received_at`, `stale`. Prices and amounts
have the exchange's own digits (see `shivx.digits`); derived values are finite doubles, else null.

Arguments that all have: `source`, the provider's name; `stale`, whether the fact is served past its
lifetime; `numbers`, ``"number"`` or ``"string"``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from shivx import digits
from shivx.digits import Numbers
from shivx.errors import OriginInvalid
from shivx.models import Candles, Catalogue, Market, OrderBook, Ticker, Token, Trade, Trades
from shivx.times import MAX_MS, format_time

MINUTE_MS = 60_000
SIDES = {"buy": '"buy"', "sell": '"sell"'}


class Fact(Protocol):
    """What every market fact knows about its own times, Unix ms."""

    @property
    def as_of(self) -> int | None:
        """The exchange's time."""

    @property
    def received_at(self) -> int:
        """Ours."""


def provenance(fact: Fact, source: str, stale: bool) -> dict[str, object]:
    """Return the four fields with which every answer and every item of a batch ends."""
    return {
        "source": source,
        "as_of": None if fact.as_of is None else format_time(fact.as_of),
        "received_at": format_time(fact.received_at),
        "stale": stale,
    }


def render_ticker(ticker: Ticker, *, source: str, stale: bool, numbers: Numbers = "number") -> bytes:
    """Return a price: the last one and the day's figures, null where the exchange gives none."""
    fields: dict[str, object] = {
        "pair": ticker.pair,
        "price": digits.scalar(ticker.price, numbers),
        "bid": digits.scalar(ticker.bid, numbers),
        "ask": digits.scalar(ticker.ask, numbers),
        "high_24h": digits.scalar(ticker.high_24h, numbers),
        "low_24h": digits.scalar(ticker.low_24h, numbers),
        "volume_24h": digits.scalar(ticker.volume_24h, numbers),
        "quote_volume_24h": digits.scalar(ticker.quote_volume_24h, numbers),
        "change_24h_percent": finite(ticker.change_24h_percent),
    }
    return _answer(fields, ticker, source, stale)


def render_book(
    book: OrderBook, depth: int, *, source: str, stale: bool, numbers: Numbers = "number"
) -> bytes:
    """Return the best *depth* levels of both sides."""
    fields: dict[str, object] = {
        "pair": book.pair,
        "bids": digits.rows(book.bids[:depth], 2, numbers),
        "asks": digits.rows(book.asks[:depth], 2, numbers),
    }
    return _answer(fields, book, source, stale)


def render_candles(
    candles: Candles,
    *,
    open_candle: bool,
    complete: bool,
    next_cursor: str | None,
    source: str,
    stale: bool,
    numbers: Numbers = "number",
) -> bytes:
    """Return all of *candles*; open times stay Unix ms and JSON numbers, as exchanges have them.

    Args:
        open_candle: whether the last one is still open.
        complete: whether the source could tell of all that was asked for.
        next_cursor: where the next page begins, None at the end.
    """
    fields: dict[str, object] = {
        "pair": candles.pair,
        "timeframe": candles.timeframe,
        "candles": digits.rows(candles.candles, 6, numbers),
        "open_candle": open_candle,
        "complete": complete,
        "next": next_cursor,
    }
    return _answer(fields, candles, source, stale)


def render_trades(
    trades: Trades,
    limit: int,
    *,
    next_cursor: str | None,
    source: str,
    stale: bool,
    numbers: Numbers = "number",
) -> bytes:
    """Return the first *limit* of *trades*, newest first."""
    fields: dict[str, object] = {
        "pair": trades.pair,
        "trades": _trade_list(trades.trades[:limit], numbers),
        "next": next_cursor,
    }
    return _answer(fields, trades, source, stale)


def render_token(token: Token, catalogue: Catalogue, *, source: str, stale: bool) -> bytes:
    """Return what the exchange says of one currency; *catalogue*, where it is from, has the times."""
    fields: dict[str, object] = {
        "symbol": token.symbol,
        "name": token.name,
        "precision": token.precision,
        "active": token.active,
    }
    return _answer(fields, catalogue, source, stale)


def render_catalogue(
    catalogue: Catalogue,
    timeframes: Sequence[str],
    *,
    source: str,
    stale: bool,
    numbers: Numbers = "number",
) -> bytes:
    """Return all pairs, by name. *timeframes* are those that a client may ask for, aggregated ones too."""
    markets = sorted(catalogue.markets.values(), key=lambda market: market.pair)
    fields: dict[str, object] = {
        "pairs": [_market(market, numbers) for market in markets],
        "timeframes": list(timeframes),
        "max_history": catalogue.max_history,
    }
    return _answer(fields, catalogue, source, stale)


def render_batch(name: str, items: Mapping[str, bytes], errors: Mapping[str, Mapping[str, object]]) -> bytes:
    """Return ``{name: {key: item}, "errors": {key: problem}}``.

    Args:
        name: ``prices``, ``predictions``.
        items: what the functions above returned, by pair.
        errors: what `blueprints.problems.problem` returned, by pair.
    """
    return msgspec.json.encode(
        {name: {key: msgspec.Raw(item) for key, item in items.items()}, "errors": errors}
    )


def finite(value: float | None) -> float | None:
    """Return a derived *value* if JSON has a number for it, else None."""
    return value if value is not None and math.isfinite(value) else None


def _answer(fields: dict[str, object], fact: Fact, source: str, stale: bool) -> bytes:
    try:
        return msgspec.json.encode(fields | provenance(fact, source, stale))
    except UnicodeEncodeError as error:  # half a surrogate pair in a name that the exchange gave
        raise OriginInvalid("the exchange gave text that is no Unicode") from error


def _market(market: Market, numbers: Numbers) -> dict[str, object]:
    return {
        "pair": market.pair,
        "base": market.base,
        "quote": market.quote,
        "status": market.status,
        "price_increment": digits.scalar(market.price_increment, numbers),
        "amount_increment": digits.scalar(market.amount_increment, numbers),
        "min_amount": digits.scalar(market.min_amount, numbers),
        "min_notional": digits.scalar(market.min_notional, numbers),
    }


def _trade_list(trades: Sequence[Trade], numbers: Numbers) -> msgspec.Raw:
    mark = '"' if numbers == "string" else ""
    objects = [
        f'{{"id":{_quoted(trade.id)},"price":{mark}{digits.number_text(trade.price)}{mark},'
        f'"amount":{mark}{digits.number_text(trade.amount)}{mark},'
        f'"side":{SIDES[trade.side]},"at":"{at}"}}'
        for trade, at in zip(trades, _times(trade.at for trade in trades), strict=True)
    ]
    return msgspec.Raw(f"[{','.join(objects)}]".encode())


def _quoted(text: str) -> str:
    """Return *text* as a JSON string; most trade ids need no escaping, and there are 500 of them."""
    if text.isascii() and text.isalnum():
        return f'"{text}"'
    return msgspec.json.encode(text.encode("utf-8", "replace").decode()).decode()


def _times(moments: Iterable[int]) -> Iterable[str]:
    """Yield `format_time` of each; neighbours share all but the seconds, and that saves most of the work."""
    prefixes: dict[int, str] = {}
    for ms in moments:
        minute, rest = divmod(min(max(ms, 0), MAX_MS), MINUTE_MS)
        if minute not in prefixes:
            prefixes[minute] = format_time(minute * MINUTE_MS)[:17]
        yield f"{prefixes[minute]}{rest // 1000:02d}.{rest % 1000:03d}Z"
