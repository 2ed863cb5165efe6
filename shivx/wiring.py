"""Wiring: from the settings to a Flask application's cache, providers and services."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import Flask

from cache_ext import CacheExt, TieredCache
from cache_ext.hooks.emitting import Hooks
from cache_ext.limits.limiter import Limiter
from cache_ext.sessions.sessions import Sessions
from shivx.accounts.access import Access, open_access
from shivx.audit.audit import Audit
from shivx.cdn import Cdn, open_cdn
from shivx.config import Settings
from shivx.embedded import EmbeddedValkey
from shivx.environment import PREFIX
from shivx.errors import OriginError
from shivx.invalidation_rules import InvalidationRules
from shivx.jobs.launching import Launcher
from shivx.jobs.store import Jobs
from shivx.ml.registry import Registry
from shivx.ml.retraining import Retraining
from shivx.ml.sessions import Sessions as Models
from shivx.providers.measured import MeasuredProvider
from shivx.services import (
    CandleService,
    FeatureService,
    IndicatorService,
    MarketService,
    Policies,
    PredictionService,
    register_facts,
)
from shivx.sessions import open_sessions
from shivx.sources import build_providers
from shivx.state import open_state
from shivx.warming.starting import Warming

EXTENSION_KEY = "shivx"
"""Where the application keeps its `Services`: ``app.extensions["shivx"]``."""
_SET_BY = {
    "redis_url": "redis_url",
    "pool_size": "redis_pool_size",
    "wait_replicas": "redis_wait_replicas",
    "pubsub": "cache_invalidation_pubsub",
}
"""Settings of ShivX that are not called like the cache's own."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the views work with."""

    settings: Settings
    cache: TieredCache
    market: MarketService
    candles: CandleService
    indicators: IndicatorService
    predictions: PredictionService
    policies: Policies
    providers: dict[str, MeasuredProvider]
    access: Access
    state: TieredCache
    limiter: Limiter
    audit: Audit
    sessions: Sessions
    rules: InvalidationRules
    launcher: Launcher
    retraining: Retraining
    warming: Warming
    cdn: Cdn | None = None

    @property
    def events(self) -> Hooks:
        """Emits the service's events, which invalidate by the `rules`, and has hooks called for them."""
        return self.state.hooks

    def start(self) -> None:
        """Connect and start this process' threads now; the first request would, but waits no longer."""
        self.cache.start()
        self.state.start()

    def close(self) -> None:
        """Let loads under way end, stop the threads, close the connections to Redis and the database."""
        self.warming.close()
        self.retraining.close()
        self.limiter.close()
        self.state.close()
        if self.state is not self.cache:
            self.cache.close()
        if self.cdn is not None:
            self.cdn.close()
        self.audit.close()
        self.access.close()


def wire(app: Flask, settings: Settings) -> Services:
    """Give *app* its cache, its origins, its services and its accounts. Nothing is connected or started yet.

    Raises:
        ConfigurationError: a setting cannot be served.
    """
    embedded = EmbeddedValkey(settings.instance_dir) if settings.redis_url is None else None
    app.config.update(_cache_config(settings, embedded), CACHE_EXT_ORIGINS=partial(_origins, app))
    ensure = None if embedded is None else embedded.ensure
    cache = CacheExt(before_connect=ensure, setting_name=setting_name).init_app(app)
    register_facts(cache)
    providers = build_providers(settings, cache)
    policies = Policies.of(settings)
    market = MarketService(cache, providers, policies)
    candles = CandleService(cache, market, policies)
    indicators = IndicatorService(cache, market, candles, policies)
    state = open_state(settings, cache, ensure)
    rules = InvalidationRules(market.sources)
    state.hooks.invalidate_by(rules.tags_of, cache)
    limiter = Limiter(state.gateway, cache.settings, start=_starter(state))
    sessions = open_sessions(app, settings, state, lambda: services_of(app).access.accounts)
    access = open_access(app, settings, cache, limiter=limiter, sessions=sessions.reader)
    audit = _audit(settings, access)
    predictions = _predictions(settings, cache, market, candles, policies)
    cdn = open_cdn(settings, cache)
    services = Services(
        settings,
        cache,
        market,
        candles,
        indicators,
        predictions,
        policies,
        providers,
        access,
        state,
        limiter,
        audit,
        sessions,
        rules,
        *_work(state, settings, predictions),
        cdn,
    )
    app.extensions[EXTENSION_KEY] = services
    return services


def _origins(app: Flask, ask: bool) -> dict[str, tuple[float, bool]]:
    """Return how the origins answered this process last; see `CacheSettings.origins`."""
    services: Services | None = app.extensions.get(EXTENSION_KEY)
    providers = {} if services is None else services.providers
    for provider in providers.values():
        if ask and provider.asked_at is None:
            with suppress(OriginError):
                provider.catalogue()
    return {
        name: (provider.asked_at, provider.answers)
        for name, provider in providers.items()
        if provider.asked_at is not None
    }


def _starter(state: TieredCache) -> Callable[[], None]:
    """Return what starts *state*'s threads; after a fork those of the child."""

    def start() -> None:
        state.runtime.start()

    return start


def _predictions(
    settings: Settings,
    cache: TieredCache,
    market: MarketService,
    candles: CandleService,
    policies: Policies,
) -> PredictionService:
    features = FeatureService(cache, candles, policies)
    models = Models(Registry(settings.model_dir))
    return PredictionService(cache, market, features, models, policies)


def _work(
    state: TieredCache, settings: Settings, predictions: PredictionService
) -> tuple[Launcher, Retraining, Warming]:
    """Return what starts long work in processes of its own."""
    launcher = Launcher(Jobs(state.gateway, settings.cache_namespace))
    return launcher, Retraining(launcher, predictions.sessions.registry), Warming(launcher)


def _audit(settings: Settings, access: Access) -> Audit:
    secrets = tuple(key.get_secret_value() for key in settings.secret_keys)
    return Audit(access.database, secrets, settings.instance_dir)


def services_of(app: Flask) -> Services:
    """Return the services of *app*."""
    services: Services = app.extensions[EXTENSION_KEY]
    return services


def setting_name(field: str) -> str:
    """Return the environment variable that sets a field of `CacheSettings`."""
    return PREFIX + _SET_BY.get(field, f"CACHE_{field}").upper()


def _cache_config(settings: Settings, embedded: EmbeddedValkey | None) -> dict[str, Any]:
    password = settings.redis_password
    url = settings.redis_url.get_secret_value() if settings.redis_url is not None else ""
    if embedded is not None:
        url = embedded.url
    return {
        "CACHE_EXT_REDIS_URL": url,
        "CACHE_EXT_REDIS_USERNAME": settings.redis_username,
        "CACHE_EXT_REDIS_PASSWORD": None if password is None else password.get_secret_value(),
        "CACHE_EXT_NAMESPACE": settings.cache_namespace,
        "CACHE_EXT_DEFAULT_TTL": settings.cache_default_ttl,
        "CACHE_EXT_ENABLED": settings.cache_enabled,
        "CACHE_EXT_MONITORING": settings.cache_monitoring_enabled,
        "CACHE_EXT_PUBSUB": settings.cache_invalidation_pubsub,
        "CACHE_EXT_POOL_SIZE": settings.redis_pool_size,
        "CACHE_EXT_WAIT_REPLICAS": settings.redis_wait_replicas,
        "CACHE_EXT_TIMEOUT": settings.redis_timeout,
        "CACHE_EXT_POOL_TIMEOUT": settings.redis_pool_timeout,
        "CACHE_EXT_OP_TIMEOUT": settings.cache_op_timeout,
        "CACHE_EXT_BREAKER_FAILURES": settings.cache_breaker_failures,
        "CACHE_EXT_BREAKER_COOLDOWN": settings.cache_breaker_cooldown,
        "CACHE_EXT_HOST_DIR": settings.instance_dir / "run" / "host",
        "CACHE_EXT_L1_MAX_BYTES": settings.cache_l1_max_bytes,
        "CACHE_EXT_SECRET_KEYS": tuple(key.get_secret_value() for key in settings.secret_keys),
    }
