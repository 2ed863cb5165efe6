"""Prices, books, trades and tokens, each fetched from its origin once per lifetime for the whole fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cache_ext import Fetched, TieredCache
from shivx.errors import OriginInvalid, UnknownPair, UnknownSource, UnknownToken
from shivx.models import Catalogue, OrderBook, Pair, Ticker, Token, Trades
from shivx.names import book_key, book_tag, catalogue_key, pair_tag, price_key, source_tag, trades_key
from shivx.providers.base import MarketDataProvider
from shivx.services.answer import Answer
from shivx.services.facts import Facts
from shivx.services.policies import Policies

BOOK_DEPTHS = (100, 500)
"""The depths in which books are fetched and kept; a request takes the smallest that is enough."""
TRADES_KEPT = 500


class MarketService:
    """Answers questions about the market.

    Args:
        cache: where facts are kept.
        providers: by source; the first is the default.
        policies: how long each kind is kept.

    Raises (all methods that take them):
        UnknownSource, UnknownPair, UnknownToken: there is none of that name.
        OriginError: the origin gave nothing and nothing may be served instead.
    """

    def __init__(
        self, cache: TieredCache, providers: Mapping[str, MarketDataProvider], policies: Policies
    ) -> None:
        self._facts = Facts(cache)
        self._providers = providers
        self._policies = policies
        self._patient = policies.patient

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources, the default first."""
        return tuple(self._providers)

    def provider(self, source: str) -> MarketDataProvider:
        """Return the provider of *source*."""
        try:
            return self._providers[source]
        except KeyError:
            raise UnknownSource(f"there is no source {source!r}") from None

    def catalogue(self, source: str, *, fresh: bool = False) -> Answer[Catalogue]:
        """Return all that *source* trades; if *fresh*, waiting for the origin rather than past its ttl."""
        policies = self._patient if fresh else self._policies
        fetched = self._facts.one(
            catalogue_key(source),
            Catalogue,
            self.provider(source).catalogue,
            policy=policies.catalogue,
            tags=[source_tag(source)],
        )
        return _answer(fetched)

    def listed(self, source: str, pair: Pair) -> Answer[Catalogue]:
        """Return the catalogue of *source*, which has *pair*."""
        catalogue = self.catalogue(source)
        require_listed(catalogue.fact, source, pair)
        return catalogue

    def token(self, source: str, symbol: str, *, fresh: bool = False) -> tuple[Answer[Catalogue], Token]:
        """Return what *source* says of the currency *symbol*, and the catalogue that says it."""
        catalogue = self.catalogue(source, fresh=fresh)
        token = catalogue.fact.tokens.get(symbol)
        if token is None:
            raise UnknownToken(f"{source} does not know {symbol}")
        return catalogue, token

    def price(self, source: str, pair: Pair) -> Answer[Ticker]:
        """Return the price of *pair*."""
        catalogue = self.listed(source, pair)
        provider = self.provider(source)
        fetched = self._facts.one(
            price_key(source, pair),
            Ticker,
            lambda: provider.ticker(catalogue.fact, pair),
            policy=self._policies.price,
            tags=[pair_tag(source, pair)],
        )
        return _answer(fetched).after(catalogue)

    def prices(self, source: str, pairs: Sequence[Pair]) -> dict[Pair, Answer[Ticker] | Exception]:
        """Return the price of each of *pairs*, or why there is none, in one round trip to Redis."""
        catalogue = self.catalogue(source)
        provider = self.provider(source)
        by_key = {price_key(source, pair): pair for pair in pairs if pair in catalogue.fact.markets}

        def load(keys: Sequence[str]) -> Mapping[str, Ticker | Exception]:
            found = provider.tickers(catalogue.fact, [by_key[key] for key in keys])
            return {key: found.get(by_key[key]) or _nothing_of(by_key[key]) for key in keys}

        fetched = self._facts.many(
            by_key,
            Ticker,
            load,
            policy=self._policies.price,
            tags_for=lambda key: [pair_tag(source, by_key[key])],
        )
        answers: dict[Pair, Answer[Ticker] | Exception] = {}
        for pair in pairs:
            result = fetched.get(price_key(source, pair), UnknownPair(f"{source} does not trade {pair}"))
            answers[pair] = _answer(result).after(catalogue) if isinstance(result, Fetched) else result
        return answers

    def order_book(self, source: str, pair: Pair, depth: int) -> Answer[OrderBook]:
        """Return the book of *pair*, at least *depth* levels a side (1..500) if there are so many."""
        catalogue = self.listed(source, pair)
        provider = self.provider(source)
        kept = next(size for size in BOOK_DEPTHS if depth <= size)
        fetched = self._facts.one(
            book_key(source, pair, kept),
            OrderBook,
            lambda: provider.order_book(catalogue.fact, pair, kept),
            policy=self._policies.orderbook,
            tags=[pair_tag(source, pair), book_tag(source, pair)],
        )
        return _answer(fetched).after(catalogue)

    def trades(self, source: str, pair: Pair) -> Answer[Trades]:
        """Return the latest trades of *pair*, newest first, up to `TRADES_KEPT`."""
        catalogue = self.listed(source, pair)
        provider = self.provider(source)
        fetched = self._facts.one(
            trades_key(source, pair),
            Trades,
            lambda: provider.trades(catalogue.fact, pair, TRADES_KEPT),
            policy=self._policies.trades,
            tags=[pair_tag(source, pair)],
        )
        return _answer(fetched).after(catalogue)


def require_listed(catalogue: Catalogue, source: str, pair: Pair) -> None:
    """Raise UnknownPair unless *source*, which has the *catalogue*, trades *pair*."""
    if pair not in catalogue.markets:
        raise UnknownPair(f"{source} does not trade {pair}")


def _answer(fetched: Fetched) -> Answer[Any]:
    return Answer.of(fetched.value, [fetched])


def _nothing_of(pair: Pair) -> OriginInvalid:
    return OriginInvalid(f"the answer has no price of {pair}")
