"""How long each kind of market fact is kept."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from cache_ext import CachePolicy, TieredCache
from shivx.config import Settings
from shivx.indicators.values import Computed, Correlations
from shivx.ml.values import Features, Prediction
from shivx.models import Candles, Catalogue, OrderBook, Ticker, Trades

CORRELATION_TTL = 3600.0
"""Seconds; like everything that is made of candles it ends with the first of them to expire, though."""

FEATURES = CachePolicy(ttl=60.0, name="features")
"""Until the next candle closes at the latest; never past it."""


@dataclass(frozen=True, slots=True)
class Policies:
    """One policy per kind of fact.

    A price or book past its ttl is served only if the exchange fails: an idle pair's old price must not
    pass for a new one. What changes rarely is also served, marked, while it is being refreshed.
    """

    catalogue: CachePolicy
    price: CachePolicy
    orderbook: CachePolicy
    trades: CachePolicy
    closed_candles: CachePolicy
    forming_candles: CachePolicy
    indicators: CachePolicy
    correlation: CachePolicy
    features: CachePolicy
    predictions: CachePolicy
    serving_model: CachePolicy

    @classmethod
    def of(cls, settings: Settings) -> Policies:
        """Return the policies that *settings* ask for."""
        others, predicted = settings.cache_stale_ttl, settings.cache_ml_prediction_ttl
        return cls(
            catalogue=CachePolicy(
                ttl=settings.cache_token_metadata_ttl,
                stale_if_error=others,
                stale_while_revalidate=others,
                name="catalogue",
            ),
            price=CachePolicy(
                ttl=settings.cache_market_price_ttl,
                stale_if_error=settings.cache_market_price_stale_ttl,
                name="price",
            ),
            orderbook=CachePolicy(
                ttl=settings.cache_orderbook_ttl,
                stale_if_error=settings.cache_orderbook_stale_ttl,
                name="orderbook",
            ),
            trades=CachePolicy(ttl=settings.cache_trades_ttl, stale_if_error=others, name="trades"),
            closed_candles=CachePolicy(
                ttl=settings.cache_ohlcv_ttl,
                stale_if_error=others,
                stale_while_revalidate=others,
                name="candles",
            ),
            forming_candles=CachePolicy(
                ttl=min(settings.cache_market_price_ttl, settings.cache_ohlcv_ttl),
                stale_if_error=settings.cache_market_price_stale_ttl,
                name="forming",
            ),
            indicators=CachePolicy(
                ttl=settings.cache_indicator_ttl, stale_if_error=others, name="indicators"
            ),
            correlation=CachePolicy(ttl=CORRELATION_TTL, stale_if_error=others, name="correlation"),
            features=FEATURES,
            predictions=CachePolicy(ttl=predicted, stale_if_error=others, name="predictions"),
            serving_model=CachePolicy(ttl=predicted, name="serving_model"),
        )

    @property
    def patient(self) -> Policies:
        """The same, for who would rather wait for the origin than be served past the ttl meanwhile."""
        return Policies(
            **{
                field.name: replace(getattr(self, field.name), stale_while_revalidate=0.0)
                for field in fields(self)
            }
        )


def register_facts(cache: TieredCache) -> None:
    """Make the market facts cacheable. They are frozen, so all readers share one object."""
    for kind in (Catalogue, Ticker, OrderBook, Trades, Candles, Computed, Correlations, Features, Prediction):
        cache.register_type(kind, name=kind.__name__.lower(), shared=True)
