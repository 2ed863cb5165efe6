"""`Settings`: everything that an operator can set, in one frozen object that is read once, at start.

pydantic checks the values, and python-dotenv's parser (both come with pydantic-settings) reads `.env`. The
`BaseSettings` of pydantic-settings itself does not fit: it takes no environment but the process's own, is
silent about unknown names in it, knows no ``NAME_FILE``, reads lists as JSON, and would read the
environment whenever anybody, a test say, makes a `Settings`. See `shivx.environment` for what we do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from shivx.environment import PREFIX, gather
from shivx.errors import ConfigurationError
from shivx.redis_url import is_planned
from shivx.secret_keys import kept_keys
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
MAX_SHOWN_CHARACTERS = 80


class Settings(BaseModel):
    """Every ``SHIVX_`` setting, under its name in lower case without the prefix; docs/configuration.md.

    Times are seconds. Secrets are `SecretStr`. Made by `from_environment`, which alone applies the rules
    between settings (production, what needs what); the constructor checks each for itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    env: Annotated[Literal["development", "production"], Word] = "development"
    instance_dir: Folder = Field(default_factory=lambda: Path("instance").absolute())
    bind: Bind = "127.0.0.1:8000"
    redis_url: RedisUrl | None = None
    redis_state_url: RedisUrl | None = Field(default_factory=lambda data: data.get("redis_url"))
    redis_username: str | None = None
    redis_password: SecretStr | None = None
    redis_pool_size: Connections = 50
    redis_timeout: Timeout = 5.0
    redis_pool_timeout: Timeout = 30.0
    cache_op_timeout: Timeout = 0.1
    cache_breaker_failures: Count = 5
    cache_breaker_cooldown: Timeout = 0.5
    cache_namespace: Namespace = "shivx"
    cache_enabled: Boolean = True
    cache_warming_enabled: Boolean = True
    cache_monitoring_enabled: Boolean = True
    cache_invalidation_pubsub: Boolean = True
    cache_default_ttl: Lifetime = 60.0
    cache_market_price_ttl: Lifetime = 5.0
    cache_market_price_stale_ttl: Grace = 30.0
    cache_orderbook_ttl: Lifetime = 10.0
    cache_orderbook_stale_ttl: Grace = 10.0
    cache_ohlcv_ttl: Lifetime = 3600.0
    cache_trades_ttl: Lifetime = 60.0
    cache_token_metadata_ttl: Lifetime = 86400.0
    cache_indicator_ttl: Lifetime = 60.0
    cache_ml_prediction_ttl: Lifetime = 30.0
    cache_stale_ttl: Grace = 300.0
    cache_session_ttl: Lifetime = 86400.0
    cache_session_idle_ttl: Lifetime = 86400.0
    cache_l1_max_bytes: Bytes = 67_108_864
    limit_anonymous: Count = 60
    limit_authenticated: Count = 120
    limit_premium: Count = 300
    limit_admin: Count = 1000
    limit_service: Count = 6000
    trusted_proxies: Proxies = 0
    market_source: Sources = ("simulated",)
    market_source_url: WebUrl | None = None
    market_timeout: Timeout = 10.0
    simulated_latency: Delay = 0.0
    simulated_failure_rate: Share = 0.0
    warm_pairs: Pairs = ("BTC-USDC", "ETH-USDC", "SOL-USDC")
    model_dir: Folder = Field(default_factory=lambda data: _models_in(data.get("instance_dir")))
    database_url: DatabaseUrl = Field(default_factory=lambda data: _sqlite_in(data.get("instance_dir")))
    secret_keys: SecretKeys = ()
    metrics_token: Token | None = None
    cors_origins: Origins = ()
    log_format: Annotated[Literal["json", "text"], Word] = "json"
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], Word] = "info"
    drain_seconds: Delay = 5.0
    cdn: Annotated[Literal["off", "varnish", "fastly"], Word] = "off"
    cdn_purge_url: WebUrl | None = None
    cdn_purge_token: Token | None = None

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
        complaints += _conflicts(texts)
        settings = None
        try:
            settings = cls.model_validate({names[name]: text for name, text in texts.items()})
        except ValidationError as error:
            complaints += _explain(error, texts)
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


def _conflicts(texts: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong between settings, judged by their text, since others of them may be malformed."""
    production = texts.get("SHIVX_ENV", "").strip().lower() == "production"
    sources = [item.strip() for item in texts.get("SHIVX_MARKET_SOURCE", "simulated").split(",")]
    if production and "simulated" in sources:
        yield "SHIVX_MARKET_SOURCE: production refuses the simulated source; give ccxt:EXCHANGE"
    if production and "SHIVX_REDIS_URL" not in texts:
        yield "SHIVX_REDIS_URL: required; production refuses the embedded Redis"
    if "SHIVX_SECRET_KEYS" not in texts and (production or "SHIVX_REDIS_URL" in texts):
        yield "SHIVX_SECRET_KEYS: required; keys are generated for the embedded Redis only"
    if "SHIVX_MARKET_SOURCE_URL" in texts and not any(source.startswith("ccxt:") for source in sources):
        yield "SHIVX_MARKET_SOURCE_URL: needs a ccxt:EXCHANGE in SHIVX_MARKET_SOURCE"
    if texts.get("SHIVX_CDN", "").strip().lower() in {"varnish", "fastly"}:
        for name in ("SHIVX_CDN_PURGE_URL", "SHIVX_CDN_PURGE_TOKEN"):
            if not texts.get(name):
                yield f"{name}: required with SHIVX_CDN"
    for name in ("SHIVX_REDIS_STATE_URL", "SHIVX_REDIS_USERNAME", "SHIVX_REDIS_PASSWORD"):
        if name in texts and "SHIVX_REDIS_URL" not in texts:
            yield f"{name}: needs SHIVX_REDIS_URL"
    for name in ("SHIVX_REDIS_URL", "SHIVX_REDIS_STATE_URL"):
        if is_planned(texts.get(name, "")):
            yield f"{name}: Sentinel and Cluster are not served yet"


def _explain(error: ValidationError, texts: Mapping[str, str]) -> Iterator[str]:
    for each in error.errors():
        name = PREFIX + str(each["loc"][0]).upper()
        if name in texts:  # else a default could not be derived from another setting, which is told itself
            shown = "" if name in SECRETS else f", not {_shown(texts[name])}"
            yield f"{name}: must be {_allowed(each)}{shown}"


def _allowed(details: ErrorDetails) -> str:
    if details["type"] == "value_error":
        return str(details["ctx"]["error"])
    return details["msg"].removeprefix("Input should be ")


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…")
