"""`Settings`: everything that an operator can set, in one frozen object that is read once, at start.

pydantic checks the values, and python-dotenv's parser (both come with pydantic-settings) reads `.env`. The
`BaseSettings` of pydantic-settings itself does not fit: it takes no environment but the process's own, is
silent about unknown names in it, knows no ``NAME_FILE``, reads lists as JSON, and would read the
environment whenever anybody, a test say, makes a `Settings`. See `shivx.environment` for what we do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from shivx.environment import PREFIX, gather
from shivx.errors import ConfigurationError
from shivx.secret_keys import kept_keys
from shivx.setting_rules import conflicts, explain
from shivx.setting_types import (
    Bind,
    Boolean,
    Bytes,
    Connections,
    Count,
    DatabaseUrl,
    Delay,
    Folder,
    Grace,
    Lifetime,
    Namespace,
    Origins,
    Pairs,
    Proxies,
    RedisUrl,
    Replicas,
    SecretKeys,
    Share,
    Sources,
    Timeout,
    Token,
    WebUrl,
    Word,
)

DATABASE_NAME = "shivx.db"
MODEL_FOLDER = "models"
SECRETS = frozenset(
    PREFIX + name
    for name in (
        "SECRET_KEYS",
        "REDIS_PASSWORD",
        "REDIS_URL",
        "REDIS_STATE_URL",
        "DATABASE_URL",
        "METRICS_TOKEN",
        "CDN_PURGE_TOKEN",
    )
)
"""Settings that never show in a repr or an error, and that ``NAME_FILE`` can give."""


class Settings(BaseModel):
    """Every ``SHIVX_`` setting, under its name in lower case without the prefix; docs/configuration.md.

    Times are seconds. Secrets are `SecretStr`. Made by `from_environment`, which alone applies the rules
    between settings (production, what needs what); the constructor checks each for itself.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    env: Annotated[Literal["development", "production"], Word] = "development"
    """`development` or `production`; see [Production](#production)"""
    instance_dir: Folder = Field(default_factory=lambda: Path("instance").absolute())
    """folder of database, keys, models and journal; made if absent"""
    bind: Bind = "127.0.0.1:8000"
    """where the service listens: `HOST:PORT` or `unix:PATH`"""
    redis_url: RedisUrl | None = None
    """`redis://`, `rediss://`, `unix://`, or with several hosts `redis+sentinel://`, `redis+cluster://`;
    with TLS `rediss+…` (docs/scaling.md). Unset: a private Valkey is started"""
    redis_state_url: RedisUrl | None = Field(default_factory=lambda data: data.get("redis_url"))
    """where sessions, limits and the event stream live, if the cache's Redis may evict"""
    redis_username: str | None = None
    """overrides the URLs'"""
    redis_password: SecretStr | None = None
    """overrides the URLs'"""
    redis_pool_size: Connections = 50
    """connections per process, 1 to 10000; to a cluster, to each of its nodes"""
    redis_wait_replicas: Replicas = 0
    """replicas that have a session's change before who made it is answered, 0 to 10 (docs/scaling.md)"""
    redis_timeout: Timeout = 5.0
    """to connect, and for administrative commands"""
    redis_pool_timeout: Timeout = 30.0
    """how long these wait for a free connection"""
    cache_op_timeout: Timeout = 0.1
    """what one request may spend on Redis in all, before it goes on without"""
    cache_breaker_failures: Count = 5
    """failures in a row that open the circuit"""
    cache_breaker_cooldown: Timeout = 0.5
    """between probes of an open circuit"""
    cache_namespace: Namespace = "shivx"
    """prefix of every key and channel: 1 to 64 of `A-Z a-z 0-9 _ . : -`"""
    cache_enabled: Boolean = True
    """false: every read goes to the exchange"""
    cache_warming_enabled: Boolean = True
    """warm on start"""
    cache_monitoring_enabled: Boolean = True
    """collect for stats and alerts in the background; `/metrics` stays"""
    cache_invalidation_pubsub: Boolean = True
    """the backplane; false: the local cache is revalidated at every read"""
    cache_default_ttl: Lifetime = 60.0
    """lifetime of what has none of its own below, 0.001 or more, as all of them"""
    cache_market_price_ttl: Lifetime = 5.0
    """prices"""
    cache_market_price_stale_ttl: Grace = 30.0
    """how long past its lifetime a price may be served, marked, when the exchange fails; 0 = never"""
    cache_orderbook_ttl: Lifetime = 10.0
    """order books"""
    cache_orderbook_stale_ttl: Grace = 10.0
    """how long past its lifetime an order book may be served, marked; 0 = never"""
    cache_ohlcv_ttl: Lifetime = 3600.0
    """closed candles; the open one is never older than a price may be"""
    cache_trades_ttl: Lifetime = 60.0
    """trades"""
    cache_token_metadata_ttl: Lifetime = 86400.0
    """pairs and tokens"""
    cache_indicator_ttl: Lifetime = 60.0
    """indicators"""
    cache_ml_prediction_ttl: Lifetime = 30.0
    """predictions"""
    cache_stale_ttl: Grace = 300.0
    """how long past its lifetime anything else may be served, marked; 0 = never"""
    cache_session_ttl: Lifetime = 86400.0
    """a session's longest life"""
    cache_session_idle_ttl: Lifetime = 86400.0
    """a session's life without use"""
    cache_l1_max_bytes: Bytes = 67_108_864
    """local cache, bytes per process"""
    limit_anonymous: Count = 60
    """requests per sliding 60 s without key or session, by address"""
    limit_authenticated: Count = 120
    """the same for accounts of the tier `authenticated`"""
    limit_premium: Count = 300
    """for `premium`"""
    limit_admin: Count = 1000
    """for `admin`"""
    limit_service: Count = 6000
    """for `service`"""
    trusted_proxies: Proxies = 0
    """proxies in front, 0 to 16; at 0 `X-Forwarded-*` is ignored"""
    market_source: Sources = ("simulated",)
    """list, the first is the default: `simulated`, `ccxt:EXCHANGE`"""
    market_source_url: WebUrl | None = None
    """base URL (`http`, `https`) of the first exchange's public API instead of its own"""
    market_timeout: Timeout = 10.0
    """total deadline of one call to the exchange"""
    simulated_latency: Delay = 0.0
    """how long each call to the simulated exchange takes"""
    simulated_failure_rate: Share = 0.0
    """share of these calls that fail, 0 to 1"""
    warm_pairs: Pairs = ("BTC-USDC", "ETH-USDC", "SOL-USDC")
    """pairs to warm; empty: none"""
    model_dir: Folder = Field(default_factory=lambda data: _models_in(data.get("instance_dir")))
    """folder of the versions of models; instances may share it; see [models](models.md)"""
    database_url: DatabaseUrl = Field(default_factory=lambda data: _sqlite_in(data.get("instance_dir")))
    """accounts, API keys, audit: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`; see
    [accounts](accounts.md)"""
    secret_keys: SecretKeys = ()
    """list, newest first, of at least 32 characters each: the first signs and encrypts, the others still
    read"""
    metrics_token: Token | None = None
    """`/metrics` answers loopback, and whoever sends this as bearer token"""
    cors_origins: Origins = ()
    """list of origins, such as `https://example.com`, or `*`"""
    log_format: Annotated[Literal["json", "text"], Word] = "json"
    """`json` or `text`"""
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], Word] = "info"
    """`debug`, `info`, `warning`, `error` or `critical`"""
    drain_seconds: Delay = 5.0
    """how long a stopping service still answers"""
    cdn: Annotated[Literal["off", "varnish", "fastly"], Word] = "off"
    """`off`, `varnish` or `fastly`: a cache in front that is told what to forget; see [CDN](cdn.md)"""
    cdn_purge_url: WebUrl | None = None
    """where purges go; required with a CDN: `http://VARNISH:PORT`, or `https://api.fastly.com/service/ID`"""
    cdn_purge_token: Token | None = None
    """what authorises them; required with a CDN"""

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, dotenv: Path | None = Path(".env")
    ) -> Self:
        """Return the settings that *environ* and *dotenv* give; the environment wins.

        A setting without a default may be given empty, which is as if it were not given. With the embedded
        Redis and no SHIVX_SECRET_KEYS, a key is made, and kept in the instance folder.

        Raises:
            ConfigurationError: one line for each setting that is wrong, with its name and what is allowed.
        """
        names = {PREFIX + field.upper(): field for field in cls.model_fields}
        texts, complaints = gather(environ, dotenv, names, SECRETS)
        texts = {name: text for name, text in texts.items() if text or not _may_be_empty(names[name])}
        complaints += conflicts(texts)
        settings = None
        try:
            settings = cls.model_validate({names[name]: text for name, text in texts.items()})
        except ValidationError as error:
            complaints += explain(error, texts, SECRETS)
        if complaints or settings is None:
            raise ConfigurationError("\n".join(complaints))
        if settings.secret_keys:
            return settings
        keys = tuple(SecretStr(key) for key in kept_keys(settings.instance_dir))
        return settings.model_copy(update={"secret_keys": keys})


def _may_be_empty(field: str) -> bool:
    default = Settings.model_fields[field]
    return field in {"redis_state_url", "database_url"} or default.default in (None, ())


def _models_in(folder: Path | None) -> Path:
    return (folder or Path()).absolute() / MODEL_FOLDER


def _sqlite_in(folder: Path | None) -> SecretStr:
    return SecretStr(f"sqlite:///{(folder or Path()).absolute() / DATABASE_NAME}")
