"""The rules for Prometheus: each alert fires when it should, stays silent when not, and says what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from tests.promtool import DEPLOYED, RULES, promtool, rules_test
from tests.service import ROOT
from tests.test_readme import anchors

TEXT = (DEPLOYED / "alerts.rules.yml").read_text()
ALERTS = re.findall(r"- alert: (\w+)", TEXT)
RUNBOOKS = ROOT / "docs/runbooks.md"
JOB = 'job="shivx"'
READS = f'cache_requests_total{{{JOB},cache="price",layer="l1",outcome="%s"}}'
ORIGIN = f'origin_requests_total{{{JOB},source="kraken",outcome="%s"}}'
LIMITS = f'rate_limit_requests_total{{{JOB},tier="anonymous",outcome="%s"}}'
BUCKETS = f'cache_operation_duration_seconds_bucket{{{JOB},operation="read",le="%s"}}'
MEMORY = f'redis_memory_bytes{{{JOB},kind="%s"}}'
CIRCUIT = f'redis_circuit_state{{{JOB},state="%s"}}'
DAYS = 86_400


class Case(NamedTuple):
    """An alert, what it says, what makes it fire by the minute *at*, and what nearly does, for as long.

    Series are in promtool's notation: ``a+bxn`` begins at *a* and adds *b* each minute, *n* times.
    """

    alert: str
    says: str
    fires: dict[str, str]
    silent: dict[str, str]
    labels: Mapping[str, str] = MappingProxyType({})
    at: int = 15


def reads(hit: int, other: int, outcome: str = "miss") -> dict[str, str]:
    """Return reads that go on, so many a minute of each kind."""
    return {READS % "hit": f"0+{hit}x20", READS % outcome: f"0+{other}x20"}


CASES = [
    Case("ShivxHitRateLow", "Only 69% of the reads are hits", reads(690, 310), reads(710, 290)),
    Case(
        "ShivxRedisMemoryHigh",
        "Redis uses 91% of its maxmemory",
        {MEMORY % "used": "91x20", MEMORY % "limit": "100x20"},
        {MEMORY % "used": "89x20", MEMORY % "limit": "100x20"},
    ),
    Case(
        "ShivxEvictions",
        "11 entries a second make room in l2",
        {f'cache_evictions_total{{{JOB},layer="l2"}}': "0+660x20"},
        {f'cache_evictions_total{{{JOB},layer="l2"}}': "0+540x20"},
        {"layer": "l2"},
    ),
    Case(
        "ShivxRedisConnectionFailures",
        "Conversations with Redis fail: timeout, 0.20 a second",
        {f'redis_connection_errors_total{{{JOB},type="timeout"}}': "0+12x20"},
        {f'redis_connection_errors_total{{{JOB},type="timeout"}}': "0+4x20"},
        {"type": "timeout"},
    ),
    Case(
        "ShivxCircuitOpen",
        "Processes that go on without Redis: 1",
        {CIRCUIT % "closed": "3x20", CIRCUIT % "open": "0x10 1x10", CIRCUIT % "half-open": "0x20"},
        {CIRCUIT % "closed": "4x20", CIRCUIT % "open": "0x20", CIRCUIT % "half-open": "0x20"},
    ),
    Case(
        "ShivxBackplaneGaps",
        "The backplane was interrupted 10 times in 10 minutes",
        {f"cache_backplane_gaps_total{{{JOB}}}": "0+1x20"},
        {f"cache_backplane_gaps_total{{{JOB}}}": "0x10 2x10"},
    ),
    Case(
        "ShivxCacheReadsSlow",
        "95 % of the reads from Redis take up to 17.5ms",
        {BUCKETS % "0.01": "0+90x20", BUCKETS % "0.025": "0+100x20", BUCKETS % "+Inf": "0+100x20"},
        {BUCKETS % "0.01": "0+96x20", BUCKETS % "0.025": "0+100x20", BUCKETS % "+Inf": "0+100x20"},
        {"operation": "read"},
    ),
    Case(
        "ShivxOriginErrors",
        "6% of the questions to kraken fail",
        {ORIGIN % "ok": "0+94x20", ORIGIN % "unavailable": "0+3x20", ORIGIN % "invalid": "0+3x20"},
        {ORIGIN % "ok": "0+96x20", ORIGIN % "unavailable": "0+4x20", ORIGIN % "not_found": "0+50x20"},
        {"source": "kraken"},
    ),
    Case(
        "ShivxStaleShare",
        "6% of the reads are served past their ttl",
        reads(94, 6, "stale"),
        reads(96, 4, "stale"),
    ),
    Case(
        "ShivxLimiterDegraded",
        "Limits are decided without Redis, 0.02 a second",
        {LIMITS % "allowed": "0+60x20", LIMITS % "refused_alone": "0+1x20"},
        {LIMITS % "allowed": "0+60x20", LIMITS % "refused": "0+9x20", LIMITS % "allowed_alone": "7x20"},
    ),
    Case(
        "ShivxModelStale",
        "The model direction was trained 14d 1h 20m 0s ago",
        {f'ml_model_trained_timestamp_seconds{{{JOB},model="direction"}}': f"{-14 * DAYS}x90"},
        {f'ml_model_trained_timestamp_seconds{{{JOB},model="direction"}}': f"{-13 * DAYS}x90"},
        {"model": "direction"},
        at=80,
    ),
    Case(
        "ShivxDown",
        "a:8000 does not answer /metrics",
        {f'up{{{JOB},instance="a:8000"}}': "1x10 0x10"},
        {f'up{{{JOB},instance="a:8000"}}': "1x20", 'up{job="other"}': "0x20"},
        {"instance": "a:8000"},
    ),
]


def field(alert: str, name: str) -> str:
    """Return a field of an alert, as it stands in the file."""
    (found,) = re.findall(rf'- alert: {alert}\n(?:(?!- alert:).*\n)*?\s+{name}: "?(.*?)"?\n', TEXT)
    return str(found)


@pytest.fixture(autouse=True)
def _installed(prometheus: str) -> None:
    """Prometheus' tool comes with it."""


def test_the_files_are_sound() -> None:
    """By Prometheus' own judgement."""
    assert promtool("check", "config", "prometheus.yml").count("SUCCESS") >= 2
    assert promtool("check", "rules", *RULES).count("SUCCESS") == len(RULES) == 2


def test_each_alert_is_tried() -> None:
    """Here, and it says how grave it is."""
    assert [case.alert for case in CASES] == ALERTS
    assert {field(alert, "severity") for alert in ALERTS} == {"page", "ticket"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_it_fires_and_stays_silent(case: Case, tmp_path: Path) -> None:
    """When its cause is there, of that job alone, and not when it nearly is."""
    when = {"eval_time": f"{case.at}m", "alertname": case.alert}
    labels = {"severity": field(case.alert, "severity"), "job": "shivx", **case.labels}
    runbook = field(case.alert, "runbook_url").replace("{{ $externalLabels.docs }}", "https://docs")
    said = {"summary": case.says, "runbook_url": runbook}
    for series, fires in ((case.fires, True), (case.silent, False)):
        expected = [{"exp_labels": labels, "exp_annotations": said}] if fires else []
        rules_test(tmp_path, series, iter([{**when, "exp_alerts": expected}]))


def test_no_hit_at_all_is_a_low_hit_rate(tmp_path: Path) -> None:
    """Though hits that never were have no series."""
    when = {"eval_time": "15m", "alertname": "ShivxHitRateLow"}
    said = {
        "summary": "Only 0% of the reads are hits",
        "runbook_url": "https://docs/runbooks.md#low-hit-rate",
    }
    expected = [{"exp_labels": {"severity": "ticket", "job": "shivx"}, "exp_annotations": said}]
    rules_test(tmp_path, {READS % "miss": "0+1000x20"}, iter([{**when, "exp_alerts": expected}]))


def test_each_runbook_is_there_and_names_its_alert() -> None:
    """At the anchor that the alert links to; nothing is left there of alerts that are gone."""
    known = anchors(RUNBOOKS)
    sections = re.split(r"^## ", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]
    told = {re.sub(r" ", "-", section.split("\n")[0].lower()): section for section in sections}
    for alert in ALERTS:
        anchor = field(alert, "runbook_url").partition("runbooks.md#")[2]
        assert anchor in known
        assert f"`{alert}`, {field(alert, 'severity')}:" in told[anchor]
    assert len(told) == len(ALERTS)
