"""A source's catalogue from ccxt's markets, and ccxt's markets again from the catalogue.

`Catalogue.native` is msgpack: the raw facts of each listed market that ccxt needs to name it and to read its
answers. Its bytes come through Redis, so they are checked before ccxt sees them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from shivx.errors import OriginInvalid
from shivx.models import TIMEFRAMES, Catalogue, Digits, Market, Pair, Token
from shivx.providers.ccxt_numbers import code_of, pair_of
from shivx.providers.ccxt_parse import decimal_places, increment
from shivx.providers.ccxt_profiles import CcxtClient, Profile

_FORMAT = 1
_DECIMAL_PLACES, _TICK_SIZE = 2, 4  # ccxt's values of `precisionMode`
_MAX_PLACES = 40
_STATUS: dict[object, str] = {True: "active", False: "inactive"}
# ccxt fills these in by itself, or they are of no use for reading public data.
_DROPPED = frozenset(
    {"info", "limits", "precision", "taker", "maker", "percentage", "tierBased", "feeSide", "fees"}
)
# What every listed market has, so it need not be kept.
_SPOT = {
    "type": "spot",
    "spot": True,
    "swap": False,
    "future": False,
    "option": False,
    "contract": False,
    "margin": False,
}
# Ids go into addresses: nothing that could lead to another path, and nothing invisible.
_SAFE_ID = re.compile(r"[^\s/\\?#%\x00-\x1f\x7f]{1,64}")


class _Native(Struct, frozen=True):
    version: int
    markets: dict[Pair, dict[str, Any]]


def make_catalogue(client: CcxtClient, profile: Profile, received_at: int) -> Catalogue:
    """Return all spot pairs of *client*, whose markets are loaded.

    Markets whose codes clients could not name (see `pair_of`) are left out, and so are tokens that are in no
    pair. Of two markets of one pair the active one counts.

    Raises:
        OriginInvalid: there is no spot market at all.
    """
    listed: dict[Pair, dict[str, Any]] = {}
    # Not client.markets: of two markets with one symbol that keeps the last, be it a dead one.
    for raw in itertools.chain.from_iterable(client.markets_by_id.values()):
        pair = pair_of(raw.get("base"), raw.get("quote")) if raw.get("spot") is True else None
        if pair is None or not _is_safe(raw.get("id")):
            continue
        if profile.lists_currencies and raw["base"] not in client.currencies:
            continue  # ccxt has not learnt its name
        if pair not in listed or (raw.get("active") and not listed[pair].get("active")):
            listed[pair] = raw
    if not listed:
        raise OriginInvalid(f"{client.id} lists no spot market")
    traded = {code for pair in listed for code in pair.split("-")}
    native = {pair: _essence(raw, profile) for pair, raw in listed.items()}
    return Catalogue(
        markets={pair: _market(pair, raw, client.precisionMode) for pair, raw in sorted(listed.items())},
        tokens={
            symbol: token
            for symbol, token in sorted(_tokens(client), key=lambda item: item[0])
            if symbol in traded
        },
        timeframes=tuple(name for name in TIMEFRAMES if name in (client.timeframes or {})),
        max_history=profile.max_history,
        received_at=received_at,
        native=msgspec.msgpack.encode(_Native(_FORMAT, native)),
    )


def adopt(client: CcxtClient, native: bytes) -> Mapping[Pair, str]:
    """Give *client* the markets in *native*. Returns ccxt's symbol of each pair.

    Raises:
        OriginInvalid: the bytes are not what `make_catalogue` wrote.
    """
    try:
        found = msgspec.msgpack.decode(native, type=_Native)
    except msgspec.DecodeError as error:
        raise OriginInvalid("the catalogue cannot be read") from error
    if found.version != _FORMAT or not found.markets or not all(map(_is_restorable, found.markets.values())):
        raise OriginInvalid("the catalogue is not of this format")
    client.set_markets([{**_SPOT, **market} for market in found.markets.values()])
    return {pair: market["symbol"] for pair, market in found.markets.items()}


def _is_restorable(market: Mapping[str, Any]) -> bool:
    texts = all(isinstance(market.get(name), str) for name in ("symbol", "base", "quote"))
    return texts and _is_safe(market.get("id"))


def _is_safe(market_id: object) -> bool:
    return isinstance(market_id, str) and _SAFE_ID.fullmatch(market_id) is not None


def _essence(raw: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    info = raw.get("info")
    if profile.info_fields is not None and isinstance(info, dict):
        info = {name: info[name] for name in profile.info_fields if name in info}
    kept = {
        name: value
        for name, value in raw.items()
        if name not in _DROPPED and value not in (None, {}, []) and value != _SPOT.get(name)
    }
    return {**kept, "info": info or {}}


def _market(pair: Pair, raw: Mapping[str, Any], mode: int) -> Market:
    base, quote = pair.split("-")
    precision, limits = raw.get("precision") or {}, raw.get("limits") or {}
    return Market(
        pair=pair,
        base=base,
        quote=quote,
        status=_STATUS.get(raw.get("active"), "unknown"),
        price_increment=_step(precision.get("price"), mode),
        amount_increment=_step(precision.get("amount"), mode),
        min_amount=increment((limits.get("amount") or {}).get("min")),
        min_notional=increment((limits.get("cost") or {}).get("min")),
    )


def _tokens(client: CcxtClient) -> Iterable[tuple[str, Token]]:
    for raw in client.currencies.values():
        symbol = code_of(raw.get("code"))
        if symbol is None:
            continue
        name, active = raw.get("name"), raw.get("active")
        token = Token(
            symbol=symbol,
            name=name if isinstance(name, str) else None,
            precision=decimal_places(_step(raw.get("precision"), client.precisionMode)),
            active=active if isinstance(active, bool) else None,
        )
        yield symbol, token


def _step(value: object, mode: int) -> Digits | None:
    """Return a step, whether ccxt gives it as one or as a number of decimal places."""
    if mode == _TICK_SIZE:
        return increment(value)
    places = str(value) if mode == _DECIMAL_PLACES else ""
    if not re.fullmatch(r"[0-9]{1,2}", places) or int(places) > _MAX_PLACES:
        return None
    return format(Decimal(1).scaleb(-int(places)), "f")
