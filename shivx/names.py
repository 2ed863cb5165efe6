"""What ShivX calls its cached facts: keys and tags.

The source is part of what is named after a market, so none can pass for another's. A key names in braces
the tag that most often kills it, which puts both into one bucket.
"""

from __future__ import annotations

from shivx.models import Pair


def pair_tag(source: str, pair: Pair) -> str:
    """Return the tag of all that a trade in *pair* changes."""
    return f"pair:{source}:{pair}"


def book_tag(source: str, pair: Pair) -> str:
    """Return the tag of what an order in *pair* changes."""
    return f"orderbook:{source}:{pair}"


def candles_tag(source: str, pair: Pair, timeframe: str) -> str:
    """Return the tag of all candles of one timeframe, closed ones too."""
    return f"ohlcv:{source}:{pair}:{timeframe}"


def source_tag(source: str) -> str:
    """Return the tag of what a source trades: pairs, tokens, timeframes."""
    return f"source:{source}"


def catalogue_key(source: str) -> str:
    """Return the key of all that a source trades."""
    return f"catalogue:{{{source_tag(source)}}}"


def price_key(source: str, pair: Pair) -> str:
    """Return the key of a ticker."""
    return f"price:{{{pair_tag(source, pair)}}}"


def book_key(source: str, pair: Pair, depth: int) -> str:
    """Return the key of an order book of *depth* levels a side."""
    return f"orderbook:{{{pair_tag(source, pair)}}}:{depth}"


def trades_key(source: str, pair: Pair) -> str:
    """Return the key of the latest trades."""
    return f"trades:{{{pair_tag(source, pair)}}}"


def page_key(source: str, pair: Pair, timeframe: str, page: int, cut: int | None) -> str:
    """Return the key of a page of closed candles; of one that still grows, as it is up to *cut*, Unix ms."""
    grown = "" if cut is None else f":{cut}"
    return f"candles:{{{candles_tag(source, pair, timeframe)}}}:{page}{grown}"


def forming_key(source: str, pair: Pair, timeframe: str, start: int) -> str:
    """Return the key of the candles that open at *start*, Unix ms, or later and may still change."""
    return f"forming:{{{candles_tag(source, pair, timeframe)}}}:{start}"


def indicator_key(
    source: str, pair: Pair, timeframe: str, spec: str, *, series: bool, include_open: bool
) -> str:
    """Return the key of an indicator's newest value, or *series* of values."""
    kind = ("open" if include_open else "closed", "series" if series else "last")
    return f"indicator:{{{pair_tag(source, pair)}}}:{timeframe}:{':'.join(kind)}:{spec}"


def correlation_key(source: str, timeframe: str, window: int, digest: str) -> str:
    """Return the key of the correlations of the pairs whose sorted names have this *digest*."""
    return f"correlation:{{{source_tag(source)}}}:{timeframe}:{window}:{digest}"


def model_tag(model: str) -> str:
    """Return the tag of all predictions of a model, whatever its version."""
    return f"model:{model}"


def serving_key(model: str) -> str:
    """Return the key of which version of a model answers."""
    return f"serving:{{{model_tag(model)}}}"


def features_key(source: str, pair: Pair, version: str) -> str:
    """Return the key of the newest features of a pair, by the *version* of their definition."""
    return f"features:{{{pair_tag(source, pair)}}}:{version}"


def prediction_key(source: str, pair: Pair, model: str, version: str) -> str:
    """Return the key of what a version of a model says of a pair."""
    return f"prediction:{{{pair_tag(source, pair)}}}:{model}:{version}"


def account_tag(account: int) -> str:
    """Return the tag of all that follows from an account's row, or from one of its API keys."""
    return f"account:{account}"


def account_key(account: int) -> str:
    """Return the key of what is known of an account."""
    return f"who:{{{account_tag(account)}}}"


def api_key_key(digest: str) -> str:
    """Return the key of what the API key of this *digest* is good for."""
    return f"apikey:{digest}"
