"""What bots ask a market-data service for: a few pairs mostly, prices mostly, each from its own address."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, count, product

SEED = 20_251_122
CALLERS = 5_000
"""Addresses that requests come from: at 1000 requests a second each stays within an anonymous limit of 60."""
MIX = {"price": 50, "orderbook": 15, "candles": 10, "indicators": 15, "prediction": 10}
"""Per cent of the requests by what they ask for."""
PATHS = {
    "price": "/api/market/price/{pair}",
    "orderbook": "/api/market/orderbook/{pair}",
    "candles": "/api/market/ohlcv/{pair}",
    "indicators": "/api/indicators/{pair}?names=rsi:14,macd:12:26:9,bbands:20:2",
    "prediction": "/api/ml/predict/{pair}",
}


_strangers = count()


def stranger() -> dict[str, str]:
    """Return the header of a request from somebody who has asked nothing yet, so that no limit meets him."""
    number = next(_strangers)
    return {"X-Forwarded-For": f"198.51.{number >> 8 & 255}.{number & 255}"}


@dataclass(frozen=True)
class Bots:
    """A seeded course of requests by Zipf's law.

    Args:
        pairs: the most popular first.
        skew: Zipf's exponent.
        mix: shares of the kinds, of any sum.
        callers: how many addresses ask, told in X-Forwarded-For.
        seed: the same one, the same course.
        headers: of every request, beyond the usual ones.
    """

    pairs: tuple[str, ...]
    skew: float = 1.0
    mix: tuple[tuple[str, float], ...] = tuple(MIX.items())
    callers: int = CALLERS
    seed: int = SEED
    headers: tuple[tuple[str, str], ...] = ()

    @cached_property
    def asked(self) -> list[tuple[str, str]]:
        """Kind and pair that each number of `requests` stands for."""
        return [(kind, pair) for (kind, _), pair in product(self.mix, self.pairs)]

    def path(self, asked: int) -> str:
        """Return what that number asks for."""
        kind, pair = self.asked[asked]
        return PATHS[kind].format(pair=pair)

    def requests(self) -> Iterator[tuple[int, bytes]]:
        """Yield numbers and requests without end; see `benchmarks.open_load.Course`."""
        chance = random.Random(self.seed)
        popularity = [1 / rank**self.skew for rank in range(1, len(self.pairs) + 1)]
        weights = list(accumulate(share * each for (_, share), each in product(self.mix, popularity)))
        own = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        rest = f" HTTP/1.1\r\nHost: shivx.test\r\nAccept: */*\r\n{own}X-Forwarded-For: "
        heads = [f"GET {self.path(number)}{rest}" for number in range(len(self.asked))]
        numbers = range(len(heads))
        while True:
            for asked in chance.choices(numbers, cum_weights=weights, k=1000):
                yield asked, f"{heads[asked]}{self._address(chance.randrange(self.callers))}\r\n\r\n".encode()

    @staticmethod
    def _address(caller: int) -> str:
        return f"203.{caller >> 16 & 255}.{caller >> 8 & 255}.{caller & 255}"
