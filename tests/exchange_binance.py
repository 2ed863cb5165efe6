"""The public REST of Binance, spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.exchange_market import DAY_MS, INSTRUMENTS, MINUTE_MS, Bar, Instrument, amount_text
from tests.exchange_wire import Query, Reply, day_of


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
        day, last = day_of(item, now), item.deals_until(now, 1)[0]
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
