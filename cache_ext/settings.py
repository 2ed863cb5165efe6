"""How a cache is set up: `CacheSettings`, read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cache_ext.errors import ConfigurationError

CONFIG_PREFIX = "CACHE_EXT_"
MIN_SECRET_CHARACTERS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """How a cache is set up. In Flask each is an ``app.config`` key: ``CACHE_EXT_`` + its upper-case name.

    Args:
        redis_url: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://HOST:PORT,HOST:PORT/SERVICE``,
            ``redis+cluster://HOST:PORT,HOST:PORT``; ``memory://`` (this process only), ``null://``.
        redis_username, redis_password: override those of the URL.
        namespace: prefix of every key and channel.
        default_ttl: seconds, where a call gives none.
        enabled: False: every read goes to the loader.
        monitoring: set the gauges once a second; counters count in any case.
        pubsub: False: no backplane; L1 revalidates by version on every read.
        pool_size: connections to Redis per process, of a cluster to each node; one is the backplane's own.
        wait_replicas: so many replicas have a session's change before its writer is answered.
        timeout: seconds, of connecting and of administrative commands.
        pool_timeout: seconds that these wait for a free connection.
        op_timeout: seconds that one request (or one call outside of any) may spend on Redis in all.
        breaker_failures: failures in a row that open the circuit.
        breaker_cooldown: seconds between probes of an open circuit.
        host_dir: a folder that the processes of this host share, all of one user, and nobody else can write
            to: while Redis is away they load through it once for all, and keep there what they invalidate
            until Redis was told. None: each loads for itself, and what it has queued ends with it.
        l1_max_bytes: bound of this process' own copies; 0 keeps none.
        max_entry_bytes: larger values are refused at `set` and not stored by loads.
        origins: tells how the origins behind the loaders answered this process last, by name: when that was
            (Unix seconds) and whether they did; if it is given True, it asks those that were not asked yet.
        secret_keys: newest first, each of 32 characters or more; encrypt what a policy calls sensitive.
    """

    redis_url: str = "memory://"
    redis_username: str | None = None
    redis_password: str | None = None
    namespace: str = "cache"
    default_ttl: float = 60.0
    enabled: bool = True
    monitoring: bool = True
    pubsub: bool = True
    pool_size: int = 50
    wait_replicas: int = 0
    timeout: float = 5.0
    pool_timeout: float = 30.0
    op_timeout: float = 0.1
    breaker_failures: int = 5
    breaker_cooldown: float = 0.5
    host_dir: Path | None = None
    l1_max_bytes: int = 64 * 2**20
    max_entry_bytes: int = 8 * 2**20
    secret_keys: tuple[str, ...] = ()
    origins: Callable[[bool], Mapping[str, tuple[float, bool]]] | None = None

    def __post_init__(self) -> None:
        for name in (
            "default_ttl",
            "timeout",
            "pool_timeout",
            "op_timeout",
            "breaker_cooldown",
            "pool_size",
            "breaker_failures",
            "max_entry_bytes",
        ):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
                raise ConfigurationError(f"{name} is a number above 0: {value!r}")
        if self.pubsub and self.pool_size < 2:
            raise ConfigurationError("pool_size is 2 or more: the backplane keeps one for itself")
        for name in ("l1_max_bytes", "wait_replicas"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} is 0 or more: {getattr(self, name)!r}")
        if any(len(key) < MIN_SECRET_CHARACTERS for key in self.secret_keys):
            raise ConfigurationError(f"each of secret_keys has {MIN_SECRET_CHARACTERS} characters or more")

    @property
    def meeting_place(self) -> Path | None:
        """The folder of this namespace in `host_dir`, if there is one."""
        if self.host_dir is None:
            return None
        return self.host_dir / (self.namespace if self.namespace.strip(".") else "%2e" * len(self.namespace))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> CacheSettings:
        """Read the ``CACHE_EXT_*`` keys of a Flask configuration.

        Raises:
            ConfigurationError: a key is unknown or its value makes no sense.
        """
        known = {CONFIG_PREFIX + field.name.upper(): field.name for field in fields(cls)}
        given = {key: value for key, value in config.items() if key.startswith(CONFIG_PREFIX)}
        if unknown := sorted(given.keys() - known.keys()):
            raise ConfigurationError(f"unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return cls(**{known[key]: value for key, value in given.items()})
