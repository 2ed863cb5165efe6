"""The public REST of Coinbase Exchange."""

from __future__ import annotations

import datetime
from typing import Any

from tests.exchange_market import INSTRUMENTS, Bar, Instrument, amount_text
from tests.exchange_wire import Number, Query, Reply, as_number, day_of, rfc3339


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
                return Reply(200, {"iso": rfc3339(now), "epoch": Number(f"{now / 1000:.3f}")})
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
                "time": rfc3339(last.at),
                "bid": item.price(bids[0][0]),
                "ask": item.price(asks[0][0]),
                "volume": amount_text(day_of(item, now).volume),
            },
        )

    def _stats(self, item: Instrument, query: Query, now: int) -> Reply:
        day = day_of(item, now)
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
        return Reply(200, {"sequence": 1924393896, "bids": sides[0], "asks": sides[1], "time": rfc3339(now)})

    def _trades(self, item: Instrument, query: Query, now: int) -> Reply:
        deals = item.deals_until(now, min(int(query.get("limit", "100")), 1000))
        return Reply(
            200,
            [
                {
                    "time": rfc3339(deal.at),
                    "trade_id": deal.id,
                    "price": item.price(deal.price),
                    "size": amount_text(deal.amount),
                    "side": "sell" if deal.taker_buys else "buy",  # the maker's
                }
                for deal in reversed(deals)
            ],
        )

    def _candles(self, item: Instrument, query: Query, now: int) -> Reply:
        step = int(query["granularity"]) * 1000
        if step not in {60_000, 300_000, 900_000, 3_600_000, 21_600_000, 86_400_000}:
            return Reply(400, {"message": "Unsupported granularity"})
        newest = now // step * step
        start, end = newest - (self.max_candles - 1) * step, newest
        if "start" in query:
            first, last = (datetime.datetime.fromisoformat(query[name]) for name in ("start", "end"))
            start, end = int(first.timestamp() * 1000), int(last.timestamp() * 1000)
        if (end - start) // step + 1 > self.max_candles:
            message = "Count of aggregations requested exceeds 300"
            return Reply(400, {"message": message})
        bars = [item.bar(at, step) for at in item.starts(start, min(end, newest), step)]
        return Reply(200, [self._candle(item, bar) for bar in reversed(bars)])

    def _candle(self, item: Instrument, bar: Bar) -> list[Any]:
        prices = [as_number(item.price(ticks)) for ticks in (bar.low, bar.high, bar.open, bar.close)]
        return [bar.at // 1000, *prices, as_number(amount_text(bar.volume))]
