"""Limits of single views through Flask-Limiter, counted by the one limiter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request
from flask_limiter import Limiter as FlaskLimiter

from cache_ext import TieredCache
from cache_ext.errors import ConfigurationError
from cache_ext.flask_limiter import view_limits
from cache_ext.limits.counting import Counts
from shivx.gate import LIMIT
from tests.limits_stage import Hand, limiter_on

COUNTED = {LIMIT: "by a gate"}


@pytest.fixture
def hand() -> Hand:
    """The clock that counts."""
    return Hand()


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many checks went to Redis in each trip."""
    seen: list[int] = []
    ask = Counts.ask
    monkeypatch.setattr(Counts, "ask", lambda counts, checks: seen.append(len(checks)) or ask(counts, checks))
    return seen


@pytest.fixture
def app(make_cache: Callable[..., TieredCache], redis_url: str, hand: Hand, trips: list[int]) -> Flask:
    """An application with limits for all of it, for two views, and for one by its cost."""
    app = Flask("limited")
    limits = view_limits(
        limiter_on(make_cache(redis_url), hand),
        lambda: request.headers.get("X-Who", "somebody"),
        counted=lambda environ: LIMIT in environ,
        default_limits=["3/minute"],
    )
    limits.init_app(app)

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/export")
    @limits.limit("2/minute", override_defaults=False)
    def export() -> str:
        return "export"

    @app.get("/dear")
    @limits.limit("10/hour", cost=4)
    def dear() -> str:
        return "dear"

    return app


def statuses(app: Flask, path: str, count: int, **options: Any) -> list[int]:
    """Return the statuses of *count* requests."""
    return [app.test_client().get(path, **options).status_code for _ in range(count)]


def test_a_view_has_a_limit_of_its_own(app: Flask, hand: Hand) -> None:
    """Refused beyond it, told when to come back, and let in then; for each caller apart."""
    assert statuses(app, "/export", 3, environ_overrides=COUNTED) == [200, 200, 429]
    refused = app.test_client().get("/export", environ_overrides=COUNTED)
    assert refused.headers["Retry-After"] == "61"
    assert statuses(app, "/export", 1, environ_overrides=COUNTED, headers={"X-Who": "else"}) == [200]
    hand.ms += 60_999
    assert statuses(app, "/export", 1, environ_overrides=COUNTED) == [429]
    hand.ms += 1
    assert statuses(app, "/export", 3, environ_overrides=COUNTED) == [200, 200, 429]


def test_what_a_gate_has_counted_is_not_counted_again(app: Flask, trips: list[int]) -> None:
    """Limits of the whole application pass it over, without a trip; without a gate they hold."""
    assert statuses(app, "/plain", 10, environ_overrides=COUNTED) == [200] * 10
    assert trips == []
    assert statuses(app, "/plain", 4) == [200, 200, 200, 429]


def test_each_limit_is_one_trip(app: Flask, trips: list[int]) -> None:
    """There is no second one for headers, refused or not."""
    statuses(app, "/export", 3, environ_overrides=COUNTED)
    assert trips == [1, 1, 1]


def test_a_view_may_cost_more_of_its_own_limit(app: Flask) -> None:
    """Ten an hour at four each."""
    assert statuses(app, "/dear", 3) == [200, 200, 429]


def test_limits_can_be_looked_at_and_cleared(app: Flask, hand: Hand) -> None:
    """As with any strategy of `limits`."""
    (extension,) = app.extensions["limiter"]
    with app.test_request_context("/export", environ_overrides=COUNTED):
        app.dispatch_request()
        (current,) = extension.current_limits
        assert (current.remaining, current.reset_at) == (1, hand.ms // 1000 + 1)  # it adds 1
        extension.limiter.clear(current.limit, *current.request_args)
        assert extension.limiter.get_window_stats(current.limit, *current.request_args).remaining == 2
        assert extension.limiter.test(current.limit, *current.request_args, cost=2)
        assert not extension.limiter.test(current.limit, *current.request_args, cost=3)


def test_the_strategy_wants_its_storage() -> None:
    """Others cannot do what it does."""
    with pytest.raises(ConfigurationError, match="storage"):
        FlaskLimiter(lambda: "", app=Flask("wrong"), storage_uri="memory://", strategy="cache-ext")
    with pytest.raises(ConfigurationError, match="view_limits"):
        FlaskLimiter(lambda: "", app=Flask("wrong"), storage_uri="cache-ext://", strategy="cache-ext")
