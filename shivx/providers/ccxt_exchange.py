"""Market data from a real exchange, through ccxt's synchronous client."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from shivx.errors import NotComputable, OriginError, OriginInvalid, OriginUnavailable, UnknownPair
from shivx.models import Candle, Candles, Catalogue, OrderBook, Pair, Ticker, Trades
from shivx.providers.ccxt_call import CcxtCall, OriginLimiting, is_unexpected, translate
from shivx.providers.ccxt_candles import CandleRange, per_call
from shivx.providers.ccxt_catalogue import adopt, make_catalogue
from shivx.providers.ccxt_client import load_class, make_client, make_client_class
from shivx.providers.ccxt_parse import (
    expect_book,
    expect_rows,
    parse_book,
    parse_candles,
    parse_ticker,
    parse_trades,
)
from shivx.providers.ccxt_profiles import PROFILES, UNKNOWN, CcxtClient
from shivx.providers.deadline import Deadline
from shivx.providers.http_line import HttpLine
from shivx.providers.pacing import LocalPacer, Pacer

logger = logging.getLogger(__name__)


class CcxtExchange:
    """A `MarketDataProvider` over one exchange that ccxt knows.

    Nothing is sent before the first question. Each question works on its own copy of the ccxt client, so
    concurrent ones cannot mix up answers; they share the connections and the meter.

    Args:
        exchange_id: ccxt's id, say ``kraken``.
        base_url: scheme, host and perhaps a path, in place of the exchange's own; None for its own.
        timeout: total seconds for one question, waiting for its slots included, > 0.
        pacer: meters the calls; None for one of this process alone.
        now: Unix seconds.
        monotonic: a clock that never goes back, seconds.
        sleep: waits so many seconds and lets other greenlets run; None for `time.sleep`.
    Raises:
        ConfigurationError: ccxt has no such exchange, or *base_url* is no address.
    """

    def __init__(
        self,
        exchange_id: str,
        *,
        base_url: str | None = None,
        timeout: float = 10.0,
        pacer: Pacer | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._source = exchange_id
        self._profile = PROFILES.get(exchange_id, UNKNOWN)
        self._base_url = base_url
        self._timeout = timeout
        self._pacer = pacer or LocalPacer(monotonic=monotonic)
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep or time.sleep
        self._line = HttpLine(monotonic)
        self._client_class = make_client_class(load_class(exchange_id), self._profile)
        self._interval = self._bare_client().rateLimit / 1000
        self._adopted: tuple[Catalogue, CcxtClient, Mapping[Pair, str]] | None = None
        self._lock = threading.Lock()
        self._logged: set[type[Exception]] = set()

    @property
    def source(self) -> str:
        """The exchange's id in ccxt."""
        return self._source

    def close(self) -> None:
        """Close idle connections. The provider stays usable."""
        self._line.close()

    def catalogue(self) -> Catalogue:
        """Return all spot pairs, tokens and timeframes; see `MarketDataProvider`."""
        client = self._bare_client()
        with self._question(client):
            client.load_markets()
            return make_catalogue(client, self._profile, self._received_at())

    def ticker(self, catalogue: Catalogue, pair: Pair) -> Ticker:
        """Return the price of *pair*; see `MarketDataProvider`."""
        with self._question_about(catalogue, pair) as (client, symbol):
            return self._ticker(client, pair, symbol)

    def tickers(self, catalogue: Catalogue, pairs: Sequence[Pair]) -> Mapping[Pair, Ticker | OriginError]:
        """Return what is known of each of *pairs*; see `MarketDataProvider`.

        Where a call has room for one pair only, they are asked one after the other until the deadline; then
        the rest are `OriginUnavailable`. A pair that the exchange has delisted meanwhile is `OriginInvalid`.

        Raises:
            UnknownPair: one of *pairs* is not in *catalogue*.
        """
        client, symbols = self._restored(catalogue)
        asked = {pair: self._symbol(symbols, pair) for pair in pairs}
        if self._profile.many_tickers and len(asked) > 1:
            try:
                with self._question(client):
                    return self._batch(client, asked)
            except UnknownPair:
                pass  # one delisted pair fails the batch, and does not say which it was
        return self._one_by_one(client, asked)

    def order_book(self, catalogue: Catalogue, pair: Pair, depth: int) -> OrderBook:
        """Return the best *depth* levels a side; see `MarketDataProvider`."""
        with self._question_about(catalogue, pair) as (client, symbol):
            raw = client.fetch_order_book(symbol, depth)
            expect_book(client.answer, client.market(symbol), self._profile)
            return parse_book(raw, pair, symbol, self._received_at(), depth=depth, profile=self._profile)

    def trades(self, catalogue: Catalogue, pair: Pair, limit: int) -> Trades:
        """Return up to *limit* latest trades; see `MarketDataProvider`."""
        with self._question_about(catalogue, pair) as (client, symbol):
            raw = client.fetch_trades(symbol, None, limit)
            expect_rows(client.answer, client.market(symbol), self._profile)
            return parse_trades(raw, pair, symbol, self._received_at(), limit=limit, profile=self._profile)

    def candles(self, catalogue: Catalogue, pair: Pair, timeframe: str, since: int, until: int) -> Candles:
        """Return the candles that open in [*since*, *until*); see `MarketDataProvider`.

        Raises:
            NotComputable: *timeframe* is not among ``catalogue.timeframes``.
        """
        if timeframe not in catalogue.timeframes:
            raise NotComputable(f"{self._source} has no candles of {timeframe}")
        with self._question_about(catalogue, pair) as (client, symbol):
            wanted = CandleRange(timeframe, since, until, self._received_at(), self._profile)
            found: dict[int, Candle] = {}
            for start, count in wanted.pages(per_call(client, self._profile), found):
                raw = client.fetch_ohlcv(symbol, timeframe, start, count)
                expect_rows(client.answer, client.market(symbol), self._profile)
                found.update(parse_candles(raw, timeframe, self._received_at()))
            kept = tuple(found[at] for at in sorted(found) if since <= at < until)
            return Candles(
                pair=pair,
                timeframe=timeframe,
                candles=kept,
                covered_since=wanted.covered_since(kept),
                received_at=self._received_at(),
            )

    def _ticker(self, client: CcxtClient, pair: Pair, symbol: str) -> Ticker:
        raw = client.fetch_ticker(symbol)
        received_at = self._received_at()
        stats = None
        if self._profile.stats is not None:
            try:
                stats = self._profile.stats(client, client.market(symbol)["id"])
            except OriginUnavailable as error:
                self._note(client, error)  # the price is there; it is worth more than the day's figures
        return parse_ticker(raw, pair, symbol, received_at, profile=self._profile, stats=stats)

    def _batch(self, client: CcxtClient, asked: Mapping[Pair, str]) -> Mapping[Pair, Ticker | OriginError]:
        answers = client.fetch_tickers(list(asked.values()))
        received_at = self._received_at()
        found: dict[Pair, Ticker | OriginError] = {}
        for pair, symbol in asked.items():
            try:
                raw = answers.get(symbol)
                found[pair] = parse_ticker(raw, pair, symbol, received_at, profile=self._profile)
            except OriginInvalid as error:
                found[pair] = error
        return found

    def _one_by_one(
        self, client: CcxtClient, asked: Mapping[Pair, str]
    ) -> Mapping[Pair, Ticker | OriginError]:
        found: dict[Pair, Ticker | OriginError] = {}
        deadline = Deadline(self._timeout, self._monotonic)
        for pair, symbol in asked.items():
            try:
                with self._question(client, deadline):
                    found[pair] = self._ticker(client, pair, symbol)
            except UnknownPair:
                found[pair] = OriginInvalid(f"{self._source} does not trade {pair} any more")
            except OriginError as error:
                found[pair] = error
        return found

    @contextmanager
    def _question_about(self, catalogue: Catalogue, pair: Pair) -> Iterator[tuple[CcxtClient, str]]:
        client, symbols = self._restored(catalogue)
        symbol = self._symbol(symbols, pair)
        with self._question(client):
            yield client, symbol

    @contextmanager
    def _question(self, client: CcxtClient, deadline: Deadline | None = None) -> Iterator[None]:
        """Run one question on *client*, which nobody else uses; whatever goes wrong leaves as ours."""
        client.call = CcxtCall(
            self._source,
            self._line,
            self._pacer,
            deadline or Deadline(self._timeout, self._monotonic),
            interval=self._interval,
            now=self._now,
            sleep=self._sleep,
        )
        try:
            yield
        except Exception as error:  # ccxt raises whatever Python does on an answer it does not expect
            if is_unexpected(error) and type(error) not in self._logged:
                self._logged.add(type(error))
                logger.warning("%s: ccxt could not read an answer", self._source, exc_info=error)
            meaning = translate(error, self._source, self._profile)
            self._note(client, meaning)
            if meaning is error:
                raise
            raise meaning from error

    def _note(self, client: CcxtClient, meaning: Exception) -> None:
        if isinstance(meaning, OriginLimiting):
            client.call.penalise(meaning.retry_after)

    def _symbol(self, symbols: Mapping[Pair, str], pair: Pair) -> str:
        try:
            return symbols[pair]
        except KeyError:
            raise UnknownPair(f"{self._source} does not trade {pair}") from None

    def _restored(self, catalogue: Catalogue) -> tuple[CcxtClient, Mapping[Pair, str]]:
        """Return a client of one's own with the markets of *catalogue*, and ccxt's symbol of each pair."""
        with self._lock:
            adopted = self._adopted
            if adopted is None or not (adopted[0] is catalogue or adopted[0].native == catalogue.native):
                client = self._bare_client()
                adopted = (catalogue, client, adopt(client, catalogue.native))
                self._adopted = adopted
        return copy.copy(adopted[1]), adopted[2]

    def _bare_client(self) -> CcxtClient:
        return make_client(self._client_class, self._base_url, self._profile.config)

    def _received_at(self) -> int:
        return int(self._now() * 1000)
