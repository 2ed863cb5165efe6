"""The Redis of limits and sessions: the cache's, or one of its own that never evicts."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from cache_ext.testing import FakeClock
from shivx.config import Settings
from tests.market_stage import ScriptedExchange, open_site, settings_for
from tests.servers import RunningServer

PAIRS = "/api/market/pairs"


def with_state(url: str, state_url: str, **settings: object) -> Settings:
    """Return settings whose limits are in the Redis at *state_url*."""
    made = settings_for(url, **settings)
    return made.model_copy(update={"redis_state_url": SecretStr(state_url)})


@pytest.fixture
def server_kind() -> str:
    """One kind will do here."""
    return "valkey"


def test_limits_are_counted_where_the_setting_says(
    start_redis: Callable[..., RunningServer], namespace: str, clock: FakeClock
) -> None:
    """Nothing of them lies in the cache's Redis; when theirs ends they go on without, and the cache with."""
    here, there = start_redis(), start_redis()
    settings = with_state(here.url, there.url, cache_namespace=namespace)
    with open_site(settings, ScriptedExchange(clock)) as site:
        services = site.services
        assert services.state is not services.cache
        assert site.get(PAIRS).status_code == 200
        assert list(services.state.gateway.way.server.client.scan_iter("*x:limit:*")) != []
        assert list(services.cache.gateway.way.server.client.scan_iter("*x:limit:*")) == []
        there.kill()
        answer = site.get(PAIRS)
        assert (answer.status_code, answer.headers["X-Cache"]) == (200, "HIT")
        assert 'outcome="allowed_alone",tier="anonymous"' in site.get("/metrics").text


def test_it_is_the_caches_unless_another_is_named(redis_url: str, namespace: str, clock: FakeClock) -> None:
    """One gateway, one pool, one breaker."""
    settings = settings_for(redis_url, cache_namespace=namespace)
    with open_site(settings, ScriptedExchange(clock)) as site:
        assert site.services.state is site.services.cache


def test_limits_hold_with_the_cache_off(redis_url: str, namespace: str, clock: FakeClock) -> None:
    """SHIVX_CACHE_ENABLED is about values."""
    settings = settings_for(redis_url, cache_namespace=namespace, cache_enabled=False, limit_anonymous=2)
    with open_site(settings, ScriptedExchange(clock)) as site:
        assert [site.get(PAIRS).status_code for _ in range(3)] == [200, 200, 429]
        assert list(site.services.state.gateway.way.server.client.scan_iter(f"{namespace}:*x:limit:*")) != []


@pytest.mark.parametrize(
    ("policy", "warned"),
    [("allkeys-lru", True), ("allkeys-random", True), ("noeviction", False), ("volatile-lru", False)],
)
def test_a_policy_that_may_evict_is_named_at_start(
    start_redis: Callable[..., RunningServer],
    namespace: str,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    policy: str,
    warned: bool,
) -> None:
    """Once, as a warning, whichever Redis it is."""
    server = start_redis("--maxmemory-policy", policy)
    settings = settings_for(server.url, cache_namespace=namespace)
    with caplog.at_level(logging.WARNING, "shivx"), open_site(settings, ScriptedExchange(clock)) as site:
        site.get(PAIRS)
    told = [
        record.getMessage() for record in caplog.records if "SHIVX_REDIS_STATE_URL" in record.getMessage()
    ]
    assert len(told) == warned
    assert all(policy in line for line in told)
