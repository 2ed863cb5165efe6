"""The configured origins, built from the settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cache_ext import StoreUnavailable, TieredCache
from shivx.config import Settings
from shivx.providers.base import MarketDataProvider
from shivx.providers.ccxt_exchange import CcxtExchange
from shivx.providers.measured import MeasuredProvider
from shivx.providers.pacing import LocalPacer, Pacer, SharedPacer
from shivx.providers.simulated import SimulatedExchange

CCXT_PREFIX = "ccxt:"


def build_providers(settings: Settings, cache: TieredCache) -> dict[str, MeasuredProvider]:
    """Return the providers that *settings* name, by source, the default first.

    Raises:
        ConfigurationError: ccxt has no such exchange.
    """
    pacer = _pacer(settings, cache)
    providers: dict[str, MeasuredProvider] = {}
    url: str | None = None if settings.market_source_url is None else str(settings.market_source_url)
    for name in settings.market_source:
        provider: MarketDataProvider
        if name.startswith(CCXT_PREFIX):
            exchange = name.removeprefix(CCXT_PREFIX)
            provider = CcxtExchange(exchange, base_url=url, timeout=settings.market_timeout, pacer=pacer)
            url = None  # the variable is about the first exchange
        else:
            provider = SimulatedExchange(
                latency=settings.simulated_latency,
                failure_rate=settings.simulated_failure_rate,
                timeout=settings.market_timeout,
            )
        providers[provider.source] = MeasuredProvider(provider)
    return providers


def _pacer(settings: Settings, cache: TieredCache) -> Pacer:
    """Return a meter that the whole fleet shares, or this host's workers' part of it without Redis."""
    workers = int(os.environ.get("WEB_CONCURRENCY") or os.cpu_count() or 1)
    gateway = cache.gateway
    if gateway is None:
        return LocalPacer(processes=workers)

    def run_script(text: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        sha = gateway.register_script(text)
        (reply,) = gateway.run([("EVALSHA", sha, len(keys), *keys, *arguments)])
        return reply

    return SharedPacer(
        run_script,
        unavailable=StoreUnavailable,
        namespace=settings.cache_namespace,
        processes=workers,
    )
