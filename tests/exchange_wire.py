"""The public REST of three exchanges, as they put the same market on the wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.exchange_market import (
    DAY_MS,
    INSTRUMENTS,
    MINUTE_MS,
    Bar,
    Deal,
    Instrument,
    amount_text,
)

Query = Mapping[str, str]


class Reply(NamedTuple):
    """Status and body of an answer."""

    status: int
    body: Any


class Number(str):
    """Text that goes on the wire as a JSON number with just these digits."""


def to_json(value: Any) -> str:
    """Write *value* as JSON; a `Number` without quotes."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(to_json, value)) + "]"
    return json.dumps(value)


def _day(item: Instrument, now: int) -> Bar:
    return item.bar(now - DAY_MS, DAY_MS)


def _rfc3339(at: int) -> str:
    import datetime  # noqa: PLC0415

    moment = datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}000Z"


class Kraken:
    """Arrays of strings under legacy names; errors with status 200; no time in ticker and book."""

    id = "kraken"
    limit_error = Reply(200, {"error": ["EGeneral:Too many requests"]})
    other_limit_error = Reply(200, {"error": ["EAPI:Rate limit exceeded"]})
    unknown_pair = Reply(200, {"error": ["EQuery:Unknown asset pair"]})
    market_keys = "AssetPairs"
    _assets = {"BTC": "XXBT", "ETH": "XETH", "DOGE": "XXDG", "USD": "ZUSD"}
    _altnames = {"BTC": "XBT", "DOGE": "XDG"}

    def answer(self, path: str, query: Query, now: int) -> Reply | None:
        """Answer a request; None if there is no such path."""
        views: dict[str, Callable[[Query, int], Reply]] = {
            "Time": self._time,
            "Assets": self._list_assets,
            "AssetPairs": self._pairs,
            "Ticker": self._tickers,
            "Depth": self._depth,
            "Trades": self._trades,
            "OHLC": self._ohlc,
        }
        prefix, _, name = path.rpartition("/")
        return views[name](query, now) if prefix == "/0/public" and name in views else None

    def key(self, item: Instrument) -> str:
        """Return the name of a pair in answers: XXBTZUSD, or plain if one side is new, XBTUSDC."""
        if item.base in self._assets and item.quote in self._assets:
            return self._assets[item.base] + self._assets[item.quote]
        return self._altname(item.base) + self._altname(item.quote)

    def _altname(self, code: str) -> str:
        return self._altnames.get(code, code)

    def _find(self, query: Query) -> Instrument | None:
        wanted = query.get("pair", "")
        return next((item for item in INSTRUMENTS if self.key(item) == wanted), None)

    def _time(self, query: Query, now: int) -> Reply:
        return _result({"unixtime": now // 1000})

    def _list_assets(self, query: Query, now: int) -> Reply:
        codes = sorted({code for item in INSTRUMENTS for code in (item.base, item.quote)})
        return _result(
            {
                self._assets.get(code, code): {
                    "aclass": "currency",
                    "altname": self._altname(code),
                    "decimals": 10,
                    "display_decimals": 5,
                    "status": "enabled",
                }
                for code in codes
            }
            | {"ETH2.S": {"aclass": "currency", "altname": "ETH2.S", "decimals": 10, "status": "enabled"}}
        )

    def _pairs(self, query: Query, now: int) -> Reply:
        return _result(
            {
                self.key(item): {
                    "altname": self._altname(item.base) + self._altname(item.quote),
                    "wsname": f"{self._altname(item.base)}/{self._altname(item.quote)}",
                    "aclass_base": "currency",
                    "base": self._assets.get(item.base, item.base),
                    "aclass_quote": "currency",
                    "quote": self._assets.get(item.quote, item.quote),
                    "lot": "unit",
                    "cost_decimals": 5,
                    "pair_decimals": item.decimals,
                    "lot_decimals": 8,
                    "lot_multiplier": 1,
                    "leverage_buy": [2, 3],
                    "leverage_sell": [2, 3],
                    "fees": [[0, Number("0.4")]],
                    "fees_maker": [[0, Number("0.25")]],
                    "ordermin": "0.0001",
                    "costmin": "0.5",
                    "tick_size": item.price(1),
                    "status": "online" if item.active else "cancel_only",
                }
                for item in INSTRUMENTS
            }
        )

    def _tickers(self, query: Query, now: int) -> Reply:
        found = {}
        for name in query.get("pair", "").split(","):
            item = self._find({"pair": name})
            if item is None:
                return self.unknown_pair
            found[self.key(item)] = self._ticker(item, now)
        return _result(found)

    def _ticker(self, item: Instrument, now: int) -> dict[str, Any]:
        bids, asks = item.book(now)
        day, last = _day(item, now), item.deals_until(now, 1)[0]
        price = item.price
        return {
            "a": [price(asks[0][0]), "1", "1.000"],
            "b": [price(bids[0][0]), "2", "2.000"],
            "c": [price(last.price), amount_text(last.amount)],
            "v": [amount_text(day.volume // 2), amount_text(day.volume)],
            "p": [price(day.open), price(day.open)],
            "t": [3907, 10056],
            "l": [price(day.low), price(day.low)],
            "h": [price(day.high), price(day.high)],
            "o": price(day.open),
        }

    def _depth(self, query: Query, now: int) -> Reply:
        item = self._find(query)
        if item is None:
            return self.unknown_pair
        count = min(int(query.get("count", "100")), 500)
        bids, asks = item.book(now)
        rows = [
            [[item.price(ticks), amount_text(amount)[:-5], now // 1000] for ticks, amount in side[:count]]
            for side in (asks, bids)
        ]
        return _result({self.key(item): {"asks": rows[0], "bids": rows[1]}})

    def _trades(self, query: Query, now: int) -> Reply:
        item = self._find(query)
        if item is None:
            return self.unknown_pair
        deals = item.deals_until(now, min(int(query.get("count", "1000")), 1000))
        return _result({self.key(item): [self._trade(item, deal) for deal in deals], "last": f"{now}000000"})

    def _trade(self, item: Instrument, deal: Deal) -> list[Any]:
        seconds = Number(f"{deal.at // 1000}.{deal.at % 1000:03d}1234")
        side = "b" if deal.taker_buys else "s"
        return [item.price(deal.price), amount_text(deal.amount), seconds, side, "m", "", deal.id]

    def _ohlc(self, query: Query, now: int) -> Reply:
        item = self._find(query)
        if item is None:
            return self.unknown_pair
        step = int(query.get("interval", "1")) * MINUTE_MS
        newest = now // step * step
        since = int(query.get("since", "0")) * 1000
        starts = item.starts(max(newest - 719 * step, since + 1), newest, step)
        rows = [self._candle(item, item.bar(at, step)) for at in starts]
        return _result({self.key(item): rows, "last": (newest - step) // 1000})

    def _candle(self, item: Instrument, bar: Bar) -> list[Any]:
        prices = [item.price(ticks) for ticks in (bar.open, bar.high, bar.low, bar.close, bar.open)]
        return [bar.at // 1000, *prices, amount_text(bar.volume), 17]


def _result(result: Any) -> Reply:
    return Reply(200, {"error": [], "result": result})


class Coinbase:
    """JSON numbers in candles, newest first, at most 300; the maker's side; 404 for unknown products."""

    id = "coinbaseexchange"
    limit_error = Reply(429, {"message": "Public rate limit exceeded"})
    other_limit_error = Reply(429, {"message": "Slow down"})
    unknown_pair = Reply(404, {"message": "NotFound"})
    market_keys = "products"
    max_candles = 300

    def answer(self, path: str, query: Query, now: int) -> Reply | None:
        """Answer a request; None if there is no such path."""
        match path.strip("/").split("/"):
            case ["time"]:
                return Reply(200, {"iso": _rfc3339(now), "epoch": Number(f"{now / 1000:.3f}")})
            case ["currencies"]:
                return self._currencies()
            case ["products"]:
                return Reply(200, [self._product(item) for item in INSTRUMENTS])
            case ["products", product, view]:
                views = {
                    "ticker": self._ticker,
                    "stats": self._stats,
                    "book": self._book,
                    "trades": self._trades,
                    "candles": self._candles,
                }
                item = next((item for item in INSTRUMENTS if self._name(item) == product), None)
                if view not in views:
                    return None
                return self.unknown_pair if item is None else views[view](item, query, now)
        return None

    def _name(self, item: Instrument) -> str:
        return f"{item.base}-{item.quote}"

    def _currencies(self) -> Reply:
        codes = sorted({code for item in INSTRUMENTS for code in (item.base, item.quote)})
        return Reply(
            200,
            [
                {
                    "id": code,
                    "name": f"{code} coin",
                    "min_size": "0.00000001",
                    "status": "online",
                    "message": "",
                    "max_precision": "0.00000001",
                    "convertible_to": [],
                    "details": {"type": "crypto", "symbol": None, "min_withdrawal_amount": Number("1e-05")},
                    "supported_networks": [],
                }
                for code in codes
            ],
        )

    def _product(self, item: Instrument) -> dict[str, Any]:
        return {
            "id": self._name(item),
            "base_currency": item.base,
            "quote_currency": item.quote,
            "quote_increment": item.price(1),
            "base_increment": "0.00000001",
            "display_name": f"{item.base}/{item.quote}",
            "min_market_funds": "1",
            "margin_enabled": False,
            "post_only": False,
            "limit_only": False,
            "cancel_only": False,
            "status": "online" if item.active else "delisted",
            "status_message": "",
            "trading_disabled": not item.active,
            "auction_mode": False,
        }

    def _ticker(self, item: Instrument, query: Query, now: int) -> Reply:
        bids, asks = item.book(now)
        last = item.deals_until(now, 1)[0]
        return Reply(
            200,
            {
                "trade_id": last.id,
                "price": item.price(last.price),
                "size": amount_text(last.amount),
                "time": _rfc3339(last.at),
                "bid": item.price(bids[0][0]),
                "ask": item.price(asks[0][0]),
                "volume": amount_text(_day(item, now).volume),
            },
        )

    def _stats(self, item: Instrument, query: Query, now: int) -> Reply:
        day = _day(item, now)
        return Reply(
            200,
            {
                "open": item.price(day.open),
                "high": item.price(day.high),
                "low": item.price(day.low),
                "last": item.price(item.deals_until(now, 1)[0].price),
                "volume": amount_text(day.volume),
                "volume_30day": amount_text(day.volume * 30),
            },
        )

    def _book(self, item: Instrument, query: Query, now: int) -> Reply:
        count = {"1": 1, "2": len(item.book(now)[0])}[query.get("level", "1")]
        sides = [
            [[item.price(ticks), amount_text(amount), 3] for ticks, amount in side[:count]]
            for side in item.book(now)
        ]
        return Reply(200, {"sequence": 1924393896, "bids": sides[0], "asks": sides[1], "time": _rfc3339(now)})

    def _trades(self, item: Instrument, query: Query, now: int) -> Reply:
        deals = item.deals_until(now, min(int(query.get("limit", "100")), 1000))
        return Reply(
            200,
            [
                {
                    "time": _rfc3339(deal.at),
                    "trade_id": deal.id,
                    "price": item.price(deal.price),
                    "size": amount_text(deal.amount),
                    "side": "sell" if deal.taker_buys else "buy",  # the maker's
                }
                for deal in reversed(deals)
            ],
        )

    def _candles(self, item: Instrument, query: Query, now: int) -> Reply:
        import datetime  # noqa: PLC0415

        step = int(query["granularity"]) * 1000
        if step not in {60_000, 300_000, 900_000, 3_600_000, 21_600_000, 86_400_000}:
            return Reply(400, {"message": "Unsupported granularity"})
        newest = now // step * step
        start, end = newest - (self.max_candles - 1) * step, newest
        if "start" in query:
            first, last = (datetime.datetime.fromisoformat(query[name]) for name in ("start", "end"))
            start, end = int(first.timestamp() * 1000), int(last.timestamp() * 1000)
        if (end - start) // step + 1 > self.max_candles:
            message = "granularity too small for the requested time range. Count of aggregations requested exceeds 300"
            return Reply(400, {"message": message})
        bars = [item.bar(at, step) for at in item.starts(start, min(end, newest), step)]
        return Reply(200, [self._candle(item, bar) for bar in reversed(bars)])

    def _candle(self, item: Instrument, bar: Bar) -> list[Any]:
        prices = [as_number(item.price(ticks)) for ticks in (bar.low, bar.high, bar.open, bar.close)]
        return [bar.at // 1000, *prices, as_number(amount_text(bar.volume))]


def as_number(text: str) -> Number:
    """Write a number as serialisers of floats do: no needless zeros, small ones with an exponent."""
    value = float(text)
    return Number(repr(value) if value < 1e-4 else text.rstrip("0").rstrip("."))


class Binance:
    """Strings throughout, times in ms, status 400 with a code for unknown symbols."""

    id = "binance"
    limit_error = Reply(429, {"code": -1003, "msg": "Too much request weight used; current limit is 6000"})
    other_limit_error = Reply(418, {"code": -1003, "msg": "Way too much request weight used; IP banned"})
    unknown_pair = Reply(400, {"code": -1121, "msg": "Invalid symbol."})
    market_keys = "exchangeInfo"

    def answer(self, path: str, query: Query, now: int) -> Reply | None:
        """Answer a request; None if there is no such path."""
        name = path.removeprefix("/api/v3/")
        if name == "time":
            return Reply(200, {"serverTime": now})
        if name == "exchangeInfo":
            return self._info(now)
        if name == "ticker/24hr" and "symbols" in query:
            found = [self._find(symbol) for symbol in json.loads(query["symbols"])]
            if None in found:
                return self.unknown_pair
            return Reply(200, [self._ticker(item, now) for item in found if item])
        views: dict[str, Callable[[Instrument, Query, int], Any]] = {
            "ticker/24hr": lambda item, query, now: self._ticker(item, now),
            "depth": self._depth,
            "trades": self._trades,
            "aggTrades": self._agg_trades,
            "klines": self._klines,
        }
        if path == name or name not in views:
            return None
        item = self._find(query.get("symbol", ""))
        return self.unknown_pair if item is None else Reply(200, views[name](item, query, now))

    def _find(self, symbol: str) -> Instrument | None:
        return next((item for item in INSTRUMENTS if item.base + item.quote == symbol), None)

    def _info(self, now: int) -> Reply:
        symbols = [
            {
                "symbol": item.base + item.quote,
                "status": "TRADING" if item.active else "BREAK",
                "baseAsset": item.base,
                "baseAssetPrecision": 8,
                "quoteAsset": item.quote,
                "quotePrecision": 8,
                "quoteAssetPrecision": 8,
                "orderTypes": ["LIMIT", "MARKET"],
                "isSpotTradingAllowed": True,
                "isMarginTradingAllowed": False,
                "filters": [
                    {
                        "filterType": "PRICE_FILTER",
                        "minPrice": item.price(1),
                        "maxPrice": "1000000.00",
                        "tickSize": item.price(1),
                    },
                    {
                        "filterType": "LOT_SIZE",
                        "minQty": "0.00001000",
                        "maxQty": "9000.00",
                        "stepSize": "0.00001000",
                    },
                    {
                        "filterType": "NOTIONAL",
                        "minNotional": "5.00000000",
                        "maxNotional": "9000000.00000000",
                    },
                ],
                "permissions": [],
                "permissionSets": [["SPOT"]],
            }
            for item in INSTRUMENTS
        ]
        return Reply(200, {"timezone": "UTC", "serverTime": now, "rateLimits": [], "symbols": symbols})

    def _ticker(self, item: Instrument, now: int) -> dict[str, Any]:
        bids, asks = item.book(now)
        day, last = _day(item, now), item.deals_until(now, 1)[0]
        return {
            "symbol": item.base + item.quote,
            "priceChange": item.price(last.price - day.open),
            "priceChangePercent": f"{(last.price - day.open) / day.open * 100:.3f}",
            "weightedAvgPrice": item.price(day.open),
            "prevClosePrice": item.price(day.open),
            "lastPrice": item.price(last.price),
            "lastQty": amount_text(last.amount),
            "bidPrice": item.price(bids[0][0]),
            "bidQty": amount_text(bids[0][1]),
            "askPrice": item.price(asks[0][0]),
            "askQty": amount_text(asks[0][1]),
            "openPrice": item.price(day.open),
            "highPrice": item.price(day.high),
            "lowPrice": item.price(day.low),
            "volume": amount_text(day.volume),
            "quoteVolume": amount_text(day.volume * 3),
            "openTime": now - DAY_MS,
            "closeTime": now,
            "firstId": 1,
            "lastId": last.id,
            "count": last.id,
        }

    def _depth(self, item: Instrument, query: Query, now: int) -> Any:
        count = min(int(query.get("limit", "100")), 5000)
        sides = [
            [[item.price(ticks), amount_text(amount)] for ticks, amount in side[:count]]
            for side in item.book(now)
        ]
        return {"lastUpdateId": 1027024, "bids": sides[0], "asks": sides[1]}

    def _trades(self, item: Instrument, query: Query, now: int) -> Any:
        return [
            {
                "id": deal.id,
                "price": item.price(deal.price),
                "qty": amount_text(deal.amount),
                "quoteQty": amount_text(deal.amount * 2),
                "time": deal.at,
                "isBuyerMaker": not deal.taker_buys,
                "isBestMatch": True,
            }
            for deal in item.deals_until(now, min(int(query.get("limit", "500")), 1000))
        ]

    def _agg_trades(self, item: Instrument, query: Query, now: int) -> Any:
        return [
            {
                "a": deal.id,
                "p": item.price(deal.price),
                "q": amount_text(deal.amount),
                "f": deal.id,
                "l": deal.id,
                "T": deal.at,
                "m": not deal.taker_buys,
                "M": True,
            }
            for deal in item.deals_until(now, min(int(query.get("limit", "500")), 1000))
        ]

    def _klines(self, item: Instrument, query: Query, now: int) -> Any:
        minutes = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}[query["interval"]]
        step, limit = minutes * MINUTE_MS, min(int(query.get("limit", "500")), 1000)
        newest = now // step * step
        start = int(query.get("startTime", str(newest - (limit - 1) * step)))
        end = min(newest, int(query.get("endTime", str(newest))))
        return [self._kline(item, item.bar(at, step), step) for at in item.starts(start, end, step)[:limit]]

    def _kline(self, item: Instrument, bar: Bar, step: int) -> list[Any]:
        prices = [item.price(ticks) for ticks in (bar.open, bar.high, bar.low, bar.close)]
        volume = amount_text(bar.volume)
        return [bar.at, *prices, volume, bar.at + step - 1, volume, 17, volume, volume, "0"]


DIALECTS = {dialect.id: dialect for dialect in (Kraken(), Coinbase(), Binance())}
