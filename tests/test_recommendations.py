"""Each rule fires when it should, names its cause and a setting that exists, and is silent otherwise."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from msgspec.structs import replace

from cache_ext import CacheSettings
from cache_ext.stats.members import Member
from cache_ext.stats.recommendations import OF_REDIS, RULES, findings
from cache_ext.stats.redis_facts import RedisFacts
from cache_ext.stats.report import Backplane, CacheStats, Level, Quantiles, Report
from cache_ext.stats.reporting import config_key
from shivx.config import Settings
from shivx.wiring import setting_name

REDIS = RedisFacts(
    version="8.0.0",
    role="master",
    uptime_seconds=100_000,
    memory_bytes=890,
    max_memory_bytes=1_000,
    memory_share=0.89,
    policy="volatile-lru",
    evicted_keys=999,
    clients=89,
    max_clients=100,
    rejected_connections=0,
    latency_seconds=0.0002,
)
MEMBER = Member(
    host="a",
    pid=1,
    l1_keys=10,
    l1_bytes=94,
    l1_max_bytes=100,
    circuit="closed",
    pool_idle=1,
    pool_used=44,
    pool_max=50,
    listens=True,
    hears=True,
    bound_seconds=1.0,
)
PRICE = CacheStats(
    reads=10_000,
    hits={"l1": 7_000, "l2": 0},
    misses=2_402,
    stale=499,
    errors=99,
    hit_rate={"1": 0.7, "5": 0.7, "60": 0.7},
    loads=Quantiles(1_000, 0.1, 0.2, 0.3),
    load_seconds_saved=700.0,
    evictions=499,
    early_refreshes=0,
    coalesced_waits=2_999,
)
FINE = Report(
    at=0.0,
    complete=True,
    incomplete_because=None,
    shared=True,
    processes=(MEMBER,),
    total=PRICE,
    caches={"price": PRICE},
    operations={"read": Quantiles(10_000, 0.001, 0.0099, 0.1)},
    redis=REDIS,
    keys_share=1.0,
    circuit={"closed": 1, "open": 0, "half-open": 0},
    pool={"idle": 1, "used": 44, "max": 50},
    backplane=Backplane(1.0, 1, 0),
    top_keys=(),
    top_tags=(),
)
"""Next to every bound, and within each."""


def redis(**changes: Any) -> Report:
    """Return that report with another Redis."""
    return replace(FINE, redis=replace(REDIS, **changes))


def price(**changes: Any) -> Report:
    """Return that report with other figures of the one cache."""
    other = replace(PRICE, **changes)
    return replace(FINE, total=other, caches={"price": other})


def member(**changes: Any) -> Report:
    """Return that report with another process."""
    return replace(FINE, processes=(replace(MEMBER, **changes),))


FIRES: dict[str, tuple[Report, str]] = {
    "redis_away": (replace(FINE, redis=None), "does not answer"),
    "circuit_open": (replace(FINE, circuit={"closed": 0, "open": 1, "half-open": 0}), "1 processes"),
    "redis_is_replica": (redis(role="slave"), "replica"),
    "backplane_deaf": (replace(FINE, backplane=Backplane(1.0, 0, 1)), "1 processes"),
    "memory_full": (redis(memory_share=0.9), "90%"),
    "clients_full": (redis(clients=90), "90 of 100"),
    "origin_errors": (price(errors=100), "1.0%"),
    "much_stale": (price(stale=500), "5%"),
    "connections_refused": (redis(rejected_connections=1), "1 connections"),
    "memory_unbounded": (redis(max_memory_bytes=None, memory_share=None), "no bound"),
    "memory_refuses": (redis(policy="noeviction"), "refuses"),
    "redis_evicts": (redis(evicted_keys=1_000), "1000 keys"),
    "pool_busy": (member(pool_used=45), "1 processes"),
    "hit_rate_low": (price(hit_rate={"1": 1.0, "5": 1.0, "60": 0.69}), "price 69%"),
    "l1_small": (replace(member(l1_bytes=95), total=replace(PRICE, evictions=500)), "500 entries"),
    "redis_slow": (replace(FINE, operations={"read": Quantiles(1_000, 0.001, 0.01, 0.1)}), "10 ms"),
    "many_waits": (price(coalesced_waits=3_000), "price"),
}
"""What makes each rule fire, and it alone, and what its cause says then."""


def found(report: Report) -> list[str]:
    """Return the names of the rules that fire."""
    return [each.rule for each in findings(report, config_key)]


def test_all_rules_are_tried() -> None:
    """A new rule belongs here."""
    assert [rule.name for rule in RULES] == list(FIRES)


def test_next_to_every_bound_all_are_silent() -> None:
    """As they are where nothing was counted yet, or nothing is shared."""
    assert found(FINE) == []
    alone = replace(FINE, shared=False, redis=None)
    assert found(alone) == []
    none = Quantiles(0, None, None, None)
    new = replace(PRICE, reads=0, stale=0, errors=0, hit_rate={"60": None}, loads=none, coalesced_waits=0)
    nobody = {"closed": 0, "open": 0, "half-open": 0}
    empty = replace(FINE, total=new, caches={"price": new}, operations={}, processes=(), circuit=nobody)
    assert found(empty) == []


@pytest.mark.parametrize("name", FIRES)
def test_a_rule_fires_alone_and_names_its_cause(name: str) -> None:
    """With the figure that says so."""
    report, cause = FIRES[name]
    (finding,) = findings(report, config_key)
    assert finding.rule == name
    assert cause in finding.cause
    assert finding.change


@pytest.mark.parametrize("name", ["hit_rate_low", "much_stale", "origin_errors", "redis_slow"])
def test_a_rate_of_few_reads_says_nothing(name: str) -> None:
    """One failure of three reads is no alert."""
    report = FIRES[name][0]
    few = {"reads": 999, "errors": report.total.errors, "stale": report.total.stale}
    total = replace(report.total, **few)
    seldom = {"read": replace(report.operations["read"], count=999)}
    assert found(replace(report, total=total, caches={"price": total}, operations=seldom)) == []


def test_the_settings_exist() -> None:
    """Those of the cache under its own names, and under those of the service; the most urgent come first."""
    own = {rule.setting for rule in RULES if rule.setting and not rule.setting.startswith(OF_REDIS)}
    assert own <= {field.name for field in fields(CacheSettings)}
    known = {f"SHIVX_{name.upper()}" for name in Settings.model_fields}
    assert {setting_name(name) for name in own} <= known
    levels = [rule.level for rule in RULES]
    assert levels == sorted(levels, key=list(Level).index)


def test_settings_of_redis_are_named_as_redis_names_them() -> None:
    """And those of the cache as whoever asks does."""
    named = {each.rule: each.setting for name in FIRES for each in findings(FIRES[name][0], setting_name)}
    assert named["memory_full"] == "maxmemory"
    assert named["pool_busy"] == "SHIVX_REDIS_POOL_SIZE"
    assert named["origin_errors"] is None
