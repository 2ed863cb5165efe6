"""The public REST of Kraken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from tests.exchange_market import INSTRUMENTS, MINUTE_MS, Bar, Deal, Instrument, amount_text
from tests.exchange_wire import Number, Query, Reply, day_of


class Kraken:
    """Arrays of strings under legacy names; errors with status 200; no time in ticker and book."""

    id = "kraken"
    limit_error = Reply(200, {"error": ["EGeneral:Too many requests"]})
    other_limit_error = Reply(200, {"error": ["EAPI:Rate limit exceeded"]})
    unknown_pair = Reply(200, {"error": ["EQuery:Unknown asset pair"]})
    market_keys = "AssetPairs"
    _assets: ClassVar = {"BTC": "XXBT", "ETH": "XETH", "DOGE": "XXDG", "USD": "ZUSD"}
    _altnames: ClassVar = {"BTC": "XBT", "DOGE": "XDG"}

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
        day, last = day_of(item, now), item.deals_until(now, 1)[0]
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
        seconds = Number(f"{deal.at // 1000}.{deal.at % 1000:03d}" + "1234" * (deal.id % 2))
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
