"""How one kind of value is kept: `CachePolicy`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from cache_ext.errors import ConfigurationError

MAX_TTL = 10 * 365 * 86_400.0
"""Ten years, in seconds."""
_LEAST = {
    "ttl": 0.001,
    "stale_if_error": 0.0,
    "stale_while_revalidate": 0.0,
    "soft_timeout": 0.0,
    "hard_timeout": 0.001,
    "failure_throttle": 0.0,
    "error_ttl": 0.001,
    "l1_ttl": 0.0,
}
"""The least that each time may be, seconds."""
_MAY_BE_NONE = ("soft_timeout", "hard_timeout", "l1_ttl")


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How one kind of value is kept. All times are seconds.

    Args:
        ttl: how long a value is fresh, counted from the moment its loader was called; > 0.
        jitter: share of the ttl, 0 to 1, of which a random part is taken off, so that what was loaded
            together does not expire together.
        stale_if_error: how long past its ttl it may be served, marked, when the loader fails; >= 0.
        stale_while_revalidate: how long past its ttl it may be served, marked, at once, while one caller
            loads in the background; >= 0. (RFC 5861 has both.)
        early_refresh: refresh in the background, shortly before the end of the ttl, what is asked for.
        soft_timeout: who could be served stale (see stale_if_error) waits so long for a load; it goes on in
            the background. None: as long as it takes.
        hard_timeout: nobody waits longer for a load than this; `LoadTimeout` is raised if there is no stale
            value either. The load goes on, and what comes is stored. None: as long as it takes.
        failure_throttle: after a load failed, its loader is not called again here for so long; callers get
            the stale value or the same error.
        cache_errors: exceptions of the loader that are an answer ("no such pair") rather than a failure:
            they are stored and raised again.
        error_ttl: how long such an error is fresh.
        l1_ttl: how long this process serves its copy before it asks the shared store again; None: as long as
            it is fresh.
        compress_above: encoded bytes above which a value travels and is stored compressed. None: never.
        sensitive: encrypt it wherever it leaves this process.
        name: the ``cache`` label of the metrics; of few distinct values.
    Raises:
        ConfigurationError: a value makes no sense; the message names it.
    """

    ttl: float
    jitter: float = 0.0
    stale_if_error: float = 0.0
    stale_while_revalidate: float = 0.0
    early_refresh: bool = True
    soft_timeout: float | None = None
    hard_timeout: float | None = None
    failure_throttle: float = 0.0
    cache_errors: tuple[type[Exception], ...] = ()
    error_ttl: float = 5.0
    l1_ttl: float | None = None
    compress_above: int | None = None
    sensitive: bool = False
    name: str = "default"

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and name in _MAY_BE_NONE:
                continue
            if not isinstance(value, int | float) or not least <= value <= MAX_TTL:
                raise ConfigurationError(f"{name} is a number of seconds, {least} to {MAX_TTL}: {value!r}")
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter < 1:
            raise ConfigurationError(f"jitter is a share of the ttl, 0 to less than 1: {self.jitter!r}")
        if None not in (self.soft_timeout, self.hard_timeout) and self.soft_timeout > self.hard_timeout:  # type: ignore[operator]
            raise ConfigurationError("soft_timeout is at most hard_timeout")
        if self.compress_above is not None and self.compress_above < 0:
            raise ConfigurationError(f"compress_above is a number of bytes: {self.compress_above!r}")
        if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in self.cache_errors):
            raise ConfigurationError(f"cache_errors lists exception types: {self.cache_errors!r}")

    @property
    def stale_for(self) -> float:
        """How long past its ttl a value is worth keeping, seconds."""
        return max(self.stale_if_error, self.stale_while_revalidate)

    @property
    def lifetime(self) -> float:
        """How long a value is worth keeping in all, seconds."""
        return self.ttl + self.stale_for

    @property
    def timed(self) -> bool:
        """Whether callers stop waiting for a load before it ends, so that it needs a thread of its own."""
        return self.soft_timeout is not None or self.hard_timeout is not None


def policy_for(ttl: float | timedelta | None, policy: CachePolicy | None, default_ttl: float) -> CachePolicy:
    """Return *policy*, or the plain one that *ttl* (seconds or timedelta) stands for.

    Raises:
        ConfigurationError: both were given.
    """
    if policy is not None:
        if ttl is not None:
            raise ConfigurationError("give ttl= or policy=, not both")
        return policy
    if isinstance(ttl, timedelta):
        ttl = ttl.total_seconds()
    return _plain_policy(default_ttl if ttl is None else ttl)


@lru_cache(maxsize=256)
def _plain_policy(ttl: float) -> CachePolicy:
    return CachePolicy(ttl=ttl)
