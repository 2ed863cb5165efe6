"""Bots on a real exchange, which is asked once in 5 s however many they are.

``python -m examples.real_exchange kraken BTC/USD ETH/USD``; needs ccxt, and no key.
"""

import argparse
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ccxt

from cache_ext import CachePolicy, open_cache

PRICES = CachePolicy(ttl=5, stale_if_error=30, name="price")


def main() -> None:
    """Ask for prices as twenty bots would, for a few seconds; print them and what the exchange saw of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exchange", help="as ccxt calls it: kraken, binance, …")
    parser.add_argument("symbols", nargs="+", help="BTC/USD …")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--bots", type=int, default=20)
    parser.add_argument("--base", help="ask this address instead of the exchange's own")
    given = parser.parse_args()
    options = {"urls": {"api": {"public": given.base}}} if given.base else {}
    exchange = getattr(ccxt, given.exchange)(options)
    cache = open_cache(os.environ.get("REDIS_URL", "memory://"), namespace="bots")
    calls = []

    def load(missing: Sequence[str]) -> dict[str, Any]:
        calls.append(missing)
        symbols = [key.partition(":")[2] for key in missing]
        found = exchange.fetch_tickers(symbols)
        return {f"price:{symbol}": found[symbol]["last"] for symbol in symbols}

    keys = [f"price:{symbol}" for symbol in given.symbols]
    until = time.monotonic() + given.seconds

    def bot(_: int) -> int:
        asked = 0
        while not asked or time.monotonic() < until:
            prices.update(cache.get_or_load_many(keys, load, policy=PRICES))
            asked += len(keys)
            time.sleep(0.01)
        return asked

    prices: dict[str, Any] = {}
    try:
        with ThreadPoolExecutor(given.bots) as pool:
            asked = sum(pool.map(bot, range(given.bots)))
    except ccxt.BaseError as error:
        raise SystemExit(f"{given.exchange} gives no prices: {error}") from None
    finally:
        cache.close()
    for key, price in prices.items():
        print(key.partition(":")[2], price)
    print(f"{asked} prices for {given.bots} bots, {len(calls)} calls of {given.exchange}")


if __name__ == "__main__":
    main()
