"""Which pairs the simulated exchange trades, and on what terms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from types import MappingProxyType

from shivx.models import TIMEFRAMES, Catalogue, Market, Pair, Token
from shivx.providers.simulated.assets import ASSETS, Asset
from shivx.providers.simulated.numerals import digits

MIN_AMOUNT_UNITS = 10
_TICKS_OF_PRICE = 10_000  # a price has at least so many ticks, if the limit of decimals allows
_MIN_PRICE_DECIMALS, _MAX_PRICE_DECIMALS = 2, 8
_DOLLARS_OF_UNIT = Decimal("0.1")  # an amount unit is worth at most that, unless it is one whole coin
_MAX_AMOUNT_DECIMALS = 8
_DOLLARS_OF_ORDER = Decimal(5)  # the smallest order, roughly


class Liquidity(IntEnum):
    """How often a pair trades; the value counts sections of the pattern library."""

    BUSY = 0
    NORMAL = 1
    QUIET = 2


_DOLLARS_OF_TRADE = {Liquidity.BUSY: 1500, Liquidity.NORMAL: 500, Liquidity.QUIET: 200}

# Symbols of each quote currency; all but the first few trade less.
_BASES: dict[str, tuple[str, ...]] = {
    "USDC": tuple(symbol for symbol in ASSETS if symbol not in {"USDC", "USDT"}),
    "USDT": tuple(symbol for symbol in ASSETS if symbol not in {"USDT", "EUR"}),
    "EUR": (
        *("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "AVAX", "DOT", "LINK", "LTC", "BCH", "TRX", "UNI"),
        *("ATOM", "AAVE", "XLM", "ALGO", "SHIB", "USDC", "USDT"),
    ),
    "BTC": ("ETH", "SOL", "BNB", "AVAX", "LINK", "LTC", "BCH", "AAVE", "INJ", "ETC"),
    "ETH": ("SOL", "BNB", "AVAX", "LINK", "LTC", "AAVE", "UNI"),
}
_BUSY_BASES = frozenset({"BTC", "ETH", "SOL", "XRP", "DOGE"})
_QUIET_QUOTES = frozenset({"ETH"})
_QUIET_BASES = frozenset({"GRT", "ALGO", "HBAR", "ICP", "POL", "JUP", "ETC"})


@dataclass(frozen=True)
class Listing:
    """One pair as the simulation sees it.

    Prices count in ticks of 10**-price_decimals, amounts in units of 10**-amount_decimals. `reference` is
    the price, in ticks, at which all paths are 0; `loadings` says how far each stream moves the price's
    logarithm; `volatility` is its standard deviation over an average minute; `usual_amount`, in units, is
    that of an average trade.
    """

    pair: Pair
    base: str
    quote: str
    price_decimals: int
    amount_decimals: int
    reference: float
    loadings: tuple[tuple[str, float], ...]
    volatility: float
    usual_amount: float
    liquidity: Liquidity

    def price(self, ticks: int) -> str:
        """Return a price as digits."""
        return digits(ticks, self.price_decimals)

    def amount(self, units: int) -> str:
        """Return an amount as digits."""
        return digits(units, self.amount_decimals)


def _list_pair(base: Asset, quote: Asset) -> Listing:
    price = base.price / quote.price
    price_decimals = _MIN_PRICE_DECIMALS
    while price_decimals < _MAX_PRICE_DECIMALS and price.scaleb(price_decimals) < _TICKS_OF_PRICE:
        price_decimals += 1
    amount_decimals = 0
    while amount_decimals < _MAX_AMOUNT_DECIMALS and base.price.scaleb(-amount_decimals) > _DOLLARS_OF_UNIT:
        amount_decimals += 1
    loadings = base.loadings()
    for stream, loading in quote.loadings().items():
        loadings[stream] = loadings.get(stream, 0.0) - loading
    liquidity = _liquidity(base.symbol, quote.symbol)
    return Listing(
        pair=f"{base.symbol}-{quote.symbol}",
        base=base.symbol,
        quote=quote.symbol,
        price_decimals=price_decimals,
        amount_decimals=amount_decimals,
        reference=float(price.scaleb(price_decimals)),
        loadings=tuple((stream, loading) for stream, loading in loadings.items() if loading != 0.0),
        volatility=_norm(loadings.values()),
        usual_amount=float((_DOLLARS_OF_TRADE[liquidity] / base.price).scaleb(amount_decimals)),
        liquidity=liquidity,
    )


def _norm(components: Iterable[float]) -> float:
    total = 0.0
    for component in components:  # not `sum`, which rounds otherwise since Python 3.12
        total += component * component
    return math.sqrt(total)


def _liquidity(base: str, quote: str) -> Liquidity:
    if quote in _QUIET_QUOTES or base in _QUIET_BASES:
        return Liquidity.QUIET
    return Liquidity.BUSY if base in _BUSY_BASES and quote != "EUR" else Liquidity.NORMAL


LISTINGS: Mapping[Pair, Listing] = MappingProxyType(
    {
        listing.pair: listing
        for quote, bases in _BASES.items()
        for listing in (_list_pair(ASSETS[base], ASSETS[quote]) for base in bases)
    }
)
"""All pairs by name."""


def make_catalogue(now_ms: int) -> Catalogue:
    """Return the catalogue as of *now_ms*, Unix ms."""
    return Catalogue(
        markets={listing.pair: _market(listing) for listing in LISTINGS.values()},
        tokens={
            asset.symbol: Token(asset.symbol, asset.name, asset.precision, active=True)
            for asset in ASSETS.values()
        },
        timeframes=tuple(TIMEFRAMES),
        max_history=None,
        received_at=now_ms,
        as_of=now_ms,
    )


def _market(listing: Listing) -> Market:
    smallest_order = int((_DOLLARS_OF_ORDER / ASSETS[listing.quote].price).scaleb(listing.price_decimals))
    return Market(
        pair=listing.pair,
        base=listing.base,
        quote=listing.quote,
        status="active",
        price_increment=listing.price(1),
        amount_increment=listing.amount(1),
        min_amount=listing.amount(MIN_AMOUNT_UNITS),
        min_notional=listing.price(max(1, smallest_order)),
    )
