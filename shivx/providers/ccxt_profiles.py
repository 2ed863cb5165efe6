"""What ccxt does not tell about an exchange, or tells wrongly, and we have to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from shivx.models import Side

CcxtClient: TypeAlias = Any
"""A client of ccxt, which has no types."""
Raw: TypeAlias = Any
"""What an exchange sent, or what ccxt made of it: anything at all."""


@dataclass(frozen=True)
class Profile:
    """The peculiarities of one exchange; the defaults suit one that we know nothing of.

    Args:
        config: handed to ccxt's constructor.
        max_history: candles back from now that it gives at most, None if it does not say.
        whole_history: it answers any range, so a candle that is missing was never there.
        per_call: candles that one call gives at most, None to believe ccxt.
        many_tickers: several symbols cost one call.
        percent_is_24h: ccxt's ``percentage`` is over 24 hours.
        quotes_volume: ccxt's ``quoteVolume`` is the exchange's own number.
        stats: reads what its ticker lacks, (ccxt client, market id) -> open, high, low, volume of 24 hours.
        lists_currencies: it has a public list of currencies, which ccxt needs to name its markets.
        payload: finds the part of an answer that ccxt reads, (answer, market) -> part; None if not known.
        taker_side: reads the taker's side from a raw trade; None to believe ccxt.
        info_fields: fields of a market's raw answer that ccxt needs again, None for all.
        unknown_pair_texts, unavailable_texts: parts of error messages that ccxt has no class for.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    max_history: int | None = None
    whole_history: bool = False
    per_call: int | None = None
    many_tickers: bool = False
    percent_is_24h: bool = True
    quotes_volume: bool = True
    stats: Callable[[CcxtClient, str], Mapping[str, Any]] | None = None
    lists_currencies: bool = False
    payload: Callable[[Raw, Raw], Raw] | None = None
    taker_side: Callable[[Raw], Side | None] | None = None
    info_fields: tuple[str, ...] | None = None
    unknown_pair_texts: tuple[str, ...] = ()
    unavailable_texts: tuple[str, ...] = ()


def _whole(answer: Raw, market: Raw) -> Raw:
    return answer


def _kraken_payload(answer: Raw, market: Raw) -> Raw:
    result = answer["result"]
    name = market["info"].get("wsname")
    # Kraken has been seen to answer under this name; ccxt understands that of books.
    return result[name] if name in result and isinstance(result[name], dict) else result[market["id"]]


def _kraken_taker_side(raw: Raw) -> Side | None:
    return _side({"b": "buy", "s": "sell"}, raw[3])


def _coinbase_taker_side(raw: Raw) -> Side | None:
    # Its "side" is the maker's: a sell order that was hit means that somebody bought.
    return _side({"sell": "buy", "buy": "sell"}, raw["side"])


def _side(words: dict[str, Side], word: object) -> Side | None:
    return words.get(word) if isinstance(word, str) else None


def _coinbase_stats(client: CcxtClient, market_id: str) -> Mapping[str, Any]:
    stats: Mapping[str, Any] = client.publicGetProductsIdStats({"id": market_id})
    return stats


UNKNOWN = Profile()

PROFILES: Mapping[str, Profile] = {
    "kraken": Profile(
        max_history=720,
        per_call=720,
        many_tickers=True,
        percent_is_24h=False,  # counted from midnight UTC
        lists_currencies=True,
        payload=_kraken_payload,
        quotes_volume=False,  # ccxt multiplies the volume by a rounded average price
        taker_side=_kraken_taker_side,
        info_fields=("wsname",),
        unknown_pair_texts=("Unknown asset pair",),
        unavailable_texts=("EService:",),
    ),
    "coinbaseexchange": Profile(
        whole_history=True,
        per_call=300,
        lists_currencies=True,
        payload=_whole,
        stats=_coinbase_stats,
        taker_side=_coinbase_taker_side,
        info_fields=(),
    ),
    "binance": Profile(
        # The other types live on other hosts; ccxt's own choice for trades merges executions.
        config={"options": {"fetchMarkets": {"types": ["spot"]}, "fetchTradesMethod": "publicGetTrades"}},
        whole_history=True,
        per_call=1000,
        many_tickers=True,
        payload=_whole,
        info_fields=(),
    ),
}
