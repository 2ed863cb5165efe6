"""Flask-Limiter on our limiter: limits of single views, and of applications without a gate.

    limiter = view_limits(Limiter(...), subject_of, counted=lambda environ: "shivx.limit" in environ)
    limiter.init_app(app)

    @app.get("/export")
    @limiter.limit("5/hour")
    def export(): ...

Each limit counts as `cache_ext.limits` counts: never more in any trailing window, one script call for all
that wait, a share a host while Redis is away. A request that a gate has counted is not counted again by
limits of the whole application (``default_limits``, ``application_limits``); those of views hold for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, g, request
from flask_limiter import Limiter as FlaskLimiter
from limits import RateLimitItem
from limits.storage import Storage
from limits.strategies import STRATEGIES, RateLimiter
from limits.util import WindowStats

from cache_ext.errors import ConfigurationError
from cache_ext.limits.decision import Decision
from cache_ext.limits.limiter import Limiter

SCHEME = "cache-ext"
STRATEGY = "cache-ext"
TOO_MANY = 429
_REFUSED = "_cache_ext_refused"
"""Where Flask's `g` has the decision that refused the request."""


class LimiterStorage(Storage):
    """Leads to a limiter; for `LimiterStrategy` alone, the strategies of `limits` cannot use it.

    Args:
        uri: ``cache-ext://``.
        limiter: counts.
    """

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 (as `limits` wants it)

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,
        *,
        limiter: Limiter | None = None,
        **options: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        if limiter is None:
            raise ConfigurationError("cache-ext:// needs a limiter; make it with view_limits")
        self.limiter = limiter

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What may be raised: nothing that a caller could wait out."""
        return ()

    def check(self) -> bool:
        """Return True: limits hold without Redis too."""
        return True

    def reset(self) -> int | None:
        """Refuse: there is no way to forget all counts but to let them end."""
        raise NotImplementedError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Refuse; see the class."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Refuse; see the class."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Refuse; see the class."""
        raise NotImplementedError

    def clear(self, key: str) -> None:
        """Refuse; see the class."""
        raise NotImplementedError


class LimiterStrategy(RateLimiter):
    """Has a `LimiterStorage`'s limiter decide."""

    def __init__(self, storage: Storage) -> None:
        if not isinstance(storage, LimiterStorage):
            raise ConfigurationError(f"the strategy {STRATEGY} needs the storage {SCHEME}://")
        super().__init__(storage)
        self._limiter = storage.limiter

    def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Take *cost* units, if they are there."""
        decision = self._decide(item, identifiers, cost)
        if not decision.allowed:
            setattr(g, _REFUSED, decision)
        return decision.allowed

    def test(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Tell whether *cost* units are there."""
        return self._decide(item, identifiers, 0).remaining >= cost

    def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        """Return the Unix second at which the next unit frees, and what is left."""
        decision = self._decide(item, identifiers, 0)
        return WindowStats(decision.reset, decision.remaining)

    def clear(self, item: RateLimitItem, *identifiers: str) -> None:
        """Let the quota be unused."""
        self._limiter.forget(item.key_for(*identifiers), item.get_expiry())

    def _decide(self, item: RateLimitItem, identifiers: tuple[str, ...], cost: int) -> Decision:
        return self._limiter.check(item.key_for(*identifiers), item.amount, cost, item.get_expiry())


STRATEGIES[STRATEGY] = LimiterStrategy  # type: ignore[assignment]  # the registry that Flask-Limiter looks into


class _ViewLimits(FlaskLimiter):
    """Flask-Limiter, which tells who was refused when to come back; it makes no second trip for that."""

    def init_app(self, app: Flask) -> None:
        """Let the limits hold for *app*."""
        super().init_app(app)
        app.after_request(_tell_when)


def view_limits(
    limiter: Limiter,
    subject_of: Callable[[], str],
    *,
    counted: Callable[[Mapping[str, Any]], bool] = lambda environ: False,
    **options: Any,
) -> FlaskLimiter:
    """Return Flask-Limiter, whose limits *limiter* counts.

    Args:
        subject_of: whose quota the request under way costs.
        counted: tells from a WSGI environment whether the request has been counted, so that limits of the
            whole application do not count it again.
        options: others of `flask_limiter.Limiter`.
    """

    def exempt() -> bool:
        return counted(request.environ)

    return _ViewLimits(
        subject_of,
        storage_uri=f"{SCHEME}://",
        storage_options={"limiter": limiter},  # type: ignore[dict-item]  # handed on to `LimiterStorage`
        strategy=STRATEGY,
        default_limits_exempt_when=exempt,
        application_limits_exempt_when=exempt,
        **options,
    )


def _tell_when(response: Response) -> Response:
    refused: Decision | None = g.get(_REFUSED)
    if refused is not None and response.status_code == TOO_MANY:
        response.headers["Retry-After"] = str(refused.retry_after)
    return response
