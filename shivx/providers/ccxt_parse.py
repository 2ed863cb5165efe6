"""Market facts from what ccxt returned; nothing that is not market data passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from shivx.errors import OriginInvalid
from shivx.models import TIMEFRAMES, Candle, Digits, Level, OrderBook, Pair, Side, Ticker, Trade, Trades
from shivx.providers.ccxt_numbers import (
    change_percent,
    moment,
    not_negative,
    not_negative_or_none,
    percent,
    positive,
    positive_or_none,
)
from shivx.providers.ccxt_profiles import Profile, Raw

_SIDES: dict[object, Side] = {"buy": "buy", "sell": "sell"}


def expect_book(answer: Raw, market: Raw, profile: Profile) -> None:
    """Raise OriginInvalid unless *answer*, as it came, has a book: to ccxt it would be an empty one."""
    if profile.payload is None:
        return
    book = profile.payload(answer, market)
    sides = [book.get("bids"), book.get("asks")] if isinstance(book, dict) else [None]
    if not all(isinstance(side, list) for side in sides):
        raise OriginInvalid("there is no book in the answer")


def expect_rows(answer: Raw, market: Raw, profile: Profile) -> None:
    """Raise OriginInvalid unless *answer*, as it came, has rows: to ccxt there would be none."""
    if profile.payload is not None and not isinstance(profile.payload(answer, market), list):
        raise OriginInvalid("there is no list in the answer")


def parse_ticker(
    raw: Raw,
    pair: Pair,
    symbol: str,
    received_at: int,
    *,
    profile: Profile,
    stats: Mapping[str, Raw] | None = None,
) -> Ticker:
    """Return the price of *pair* from ccxt's ticker.

    A locked market (best bid equals best ask) is accepted, a crossed one is not: in one snapshot of a market
    that matches continuously it cannot be, and what is computed from it is wrong.

    Args:
        symbol: ccxt's name of the pair; the answer must be about it.
        received_at: Unix ms.
        stats: the exchange's 24 hour figures, where its ticker has none.
    Raises:
        OriginInvalid: there is no positive price, or a number makes no sense.
    """
    _expect_symbol(raw, symbol)
    price = positive(raw.get("last"), "the price")
    bid = positive_or_none(raw.get("bid"), "the bid")
    ask = positive_or_none(raw.get("ask"), "the ask")
    if bid is not None and ask is not None and Decimal(bid) > Decimal(ask):
        raise OriginInvalid("the best bid is above the best ask")
    high, low = _extremes(raw if stats is None else stats)
    change = percent(raw.get("percentage")) if profile.percent_is_24h else None
    if stats is not None:
        change = change_percent(positive_or_none(stats.get("open"), "the first price"), price)
    quote_volume = raw.get("quoteVolume") if profile.quotes_volume else None
    return Ticker(
        pair=pair,
        price=price,
        received_at=received_at,
        as_of=_as_of(raw, received_at),
        bid=bid,
        ask=ask,
        high_24h=high,
        low_24h=low,
        volume_24h=not_negative_or_none(raw.get("baseVolume"), "the volume"),
        quote_volume_24h=not_negative_or_none(quote_volume, "the volume in the quote currency"),
        change_24h_percent=change,
    )


def _extremes(day: Mapping[str, Raw]) -> tuple[Digits | None, Digits | None]:
    high = positive_or_none(day.get("high"), "the highest price")
    low = positive_or_none(day.get("low"), "the lowest price")
    if high is not None and low is not None and Decimal(high) < Decimal(low):
        raise OriginInvalid("the highest price is below the lowest")
    return high, low


def parse_book(
    raw: Raw, pair: Pair, symbol: str, received_at: int, *, depth: int, profile: Profile
) -> OrderBook:
    """Return the best *depth* levels a side from ccxt's order book.

    Levels without an amount are dropped. A crossed book is refused, a locked one is not (see `parse_ticker`).
    An empty book is believed of an exchange whose answers we know (see `expect_book`), of others it is not.

    Raises:
        OriginInvalid: a level is not one, a price occurs twice on a side, or the book is crossed.
    """
    _expect_symbol(raw, symbol)
    bids = _levels(raw.get("bids"), descending=True)
    asks = _levels(raw.get("asks"), descending=False)
    if not bids and not asks and profile.payload is None:
        raise OriginInvalid("the book is empty")
    if bids and asks and Decimal(bids[0][0]) > Decimal(asks[0][0]):
        raise OriginInvalid("the best bid is above the best ask")
    return OrderBook(
        pair=pair,
        bids=bids[:depth],
        asks=asks[:depth],
        received_at=received_at,
        as_of=_as_of(raw, received_at),
    )


def _levels(raw: Raw, *, descending: bool) -> tuple[Level, ...]:
    if not isinstance(raw, list):
        raise OriginInvalid("a side of the book is missing")
    levels: dict[Decimal, Level] = {}
    for level in raw:
        if not isinstance(level, list) or len(level) < 2:
            raise OriginInvalid("a level of the book is malformed")
        price, amount = (
            positive(level[0], "a price of the book"),
            not_negative(level[1], "an amount of the book"),
        )
        if Decimal(amount) == 0:
            continue
        if Decimal(price) in levels:
            raise OriginInvalid("a price occurs twice on a side of the book")
        levels[Decimal(price)] = (price, amount)
    return tuple(levels[price] for price in sorted(levels, reverse=descending))


def parse_trades(
    raw: Raw, pair: Pair, symbol: str, received_at: int, *, limit: int, profile: Profile
) -> Trades:
    """Return the latest *limit* executions, newest first, from ccxt's trades.

    Raises:
        OriginInvalid: a trade lacks its id, time or side, or a number makes no sense.
    """
    if not isinstance(raw, list):
        raise OriginInvalid("there is no list of trades")
    trades: dict[str, Trade] = {}
    for item in raw:
        _expect_symbol(item, symbol)
        trade = _trade(item, received_at, profile)
        trades[trade.id] = trade
    newest_first = sorted(trades.values(), key=_age, reverse=True)
    return Trades(pair=pair, trades=tuple(newest_first[:limit]), received_at=received_at)


def _trade(raw: Mapping[str, Raw], received_at: int, profile: Profile) -> Trade:
    identifier = raw.get("id")
    if not isinstance(identifier, str) or not identifier:
        raise OriginInvalid("a trade has no id")
    side = _SIDES.get(raw.get("side"))
    if profile.taker_side is not None and profile.taker_side(raw.get("info")) != side:
        raise OriginInvalid("it is not clear which side took a trade")
    if side is None:
        raise OriginInvalid("a trade has no side")
    return Trade(
        id=identifier,
        price=positive(raw.get("price"), "the price of a trade"),
        amount=positive(raw.get("amount"), "the amount of a trade"),
        side=side,
        at=moment(raw.get("timestamp"), received_at, "the time of a trade"),
    )


def _age(trade: Trade) -> tuple[int, int, str]:
    # Several trades share a millisecond; where ids are counted up, they tell the order.
    number = int(trade.id) if trade.id.isascii() and trade.id.isdigit() else 0
    return trade.at, number, trade.id


def parse_candles(raw: Raw, timeframe: str, received_at: int) -> Iterable[tuple[int, Candle]]:
    """Yield each candle with its open time from ccxt's candles, in the order they came.

    Raises:
        OriginInvalid: a candle does not begin on the grid of *timeframe*, or contradicts itself.
    """
    if not isinstance(raw, list):
        raise OriginInvalid("there is no list of candles")
    for row in raw:
        if not isinstance(row, list) or len(row) < 6:
            raise OriginInvalid("a candle is malformed")
        opened_at = moment(row[0], received_at, "the time of a candle")
        if opened_at % TIMEFRAMES[timeframe]:
            raise OriginInvalid(f"a candle does not begin on the grid of {timeframe}")
        yield opened_at, _candle(opened_at, row)


def _candle(opened_at: int, row: Sequence[Raw]) -> Candle:
    first, high, low, last = (positive(value, "a price of a candle") for value in row[1:5])
    volume = not_negative(row[5], "the volume of a candle")
    bodies = (Decimal(first), Decimal(last))
    if Decimal(high) < max(bodies) or Decimal(low) > min(bodies):
        raise OriginInvalid("a candle's high or low contradicts its open or close")
    return opened_at, first, high, low, last, volume


def _expect_symbol(raw: Raw, symbol: str) -> None:
    if not isinstance(raw, dict):
        raise OriginInvalid("the answer has the wrong type")
    if raw.get("symbol") != symbol:
        raise OriginInvalid("the answer is about another pair")


def _as_of(raw: Mapping[str, Raw], received_at: int) -> int | None:
    given = raw.get("timestamp")
    return None if given is None else moment(given, received_at, "the exchange's time")


def increment(value: object) -> Digits | None:
    """Return a step of prices or amounts, None if the exchange gives none or one that is none."""
    try:
        return positive_or_none(value, "an increment")
    except OriginInvalid:
        return None


def decimal_places(step: object) -> int | None:
    """Return how many decimal places a step of *step* needs, None if it is no step."""
    found = increment(step)
    return None if found is None else len(found.partition(".")[2].rstrip("0"))
