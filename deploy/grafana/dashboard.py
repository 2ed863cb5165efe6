"""The dashboard for Grafana: ``python deploy/grafana/dashboard.py`` writes dashboards/shivx.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "dashboards" / "shivx.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WHOLE_WIDTH = 24
TALL, LOW = 8, 4
JOB = 'job="$job"'
GOOD, WARN, BAD = "green", "orange", "red"


@dataclass(frozen=True)
class Panel:
    """What is shown of some expressions, each with the name of its series.

    Args:
        unit: Grafana's name of one.
        kind: ``timeseries``, ``stat`` or ``table``.
        steps: from which value on which colour, the first without value.
        width: of 24.
        stacked: whether series stand on each other.
    """

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    steps: Sequence[tuple[float | None, str]] = ((None, GOOD),)
    width: int = 8
    stacked: bool = False
    tells: str = ""

    @property
    def height(self) -> int:
        """A single figure needs less room."""
        return LOW if self.kind == "stat" else TALL


def rate(name: str, more: str = "", window: str = "5m") -> str:
    """Return the rate of a counter of this job."""
    return f"rate({name}{{{JOB}{',' if more else ''}{more}}}[{window}])"


def quantile(share: float, name: str, by: str = "") -> str:
    """Return a quantile of a histogram of this job."""
    return f"histogram_quantile({share}, sum by ({by + ', ' if by else ''}le) ({rate(name + '_bucket')}))"


HITS = rate("cache_requests_total", 'outcome="hit"')
ERRORS = rate("cache_requests_total", 'outcome="error"')
REFUSED = rate("flask_http_request_duration_seconds_count", 'status=~"[45].."')
OVERVIEW = (
    Panel(
        "Hit rate",
        [(f"shivx:all_hit_ratio:rate5m{{{JOB}}}", "")],
        "percentunit",
        "stat",
        [(None, BAD), (0.7, WARN), (0.9, GOOD)],
        4,
        tells="Reads of all caches, of the last 5 minutes.",
    ),
    Panel(
        "Requests to the API",
        [(f"sum({rate('rate_limit_requests_total')})", "")],
        "reqps",
        "stat",
        width=4,
        tells="Answers from the front door's cache included.",
    ),
    Panel(
        "p95 in Flask",
        [(f"shivx:http_request_seconds:p95_5m{{{JOB}}}", "")],
        "s",
        "stat",
        [(None, GOOD), (0.1, WARN), (1.0, BAD)],
        4,
        tells="Of what the front door's cache does not answer.",
    ),
    Panel(
        "Redis reachable",
        [(f"min(redis_health_status{{{JOB}}})", "")],
        "bool_yes_no",
        "stat",
        [(None, BAD), (1.0, GOOD)],
        4,
        tells="By every process of every instance.",
    ),
    Panel(
        "Exchange errors",
        [(f"max(shivx:origin_error_ratio:rate5m{{{JOB}}})", "")],
        "percentunit",
        "stat",
        [(None, GOOD), (0.01, WARN), (0.05, BAD)],
        4,
    ),
    Panel(
        "Alerts firing",
        [('count(ALERTS{alertstate="firing",alertname=~"Shivx.*"}) or vector(0)', "")],
        "short",
        "stat",
        [(None, GOOD), (1.0, BAD)],
        4,
        tells="What to do: docs/runbooks.md.",
    ),
)
CACHE = (
    Panel("Hit rate by cache", [(f"shivx:cache_hit_ratio:rate5m{{{JOB}}}", "{{cache}}")], "percentunit"),
    Panel(
        "Reads by layer and outcome",
        [(f"sum by (layer, outcome) ({rate('cache_requests_total')})", "{{outcome}} {{layer}}")],
        "reqps",
        stacked=True,
    ),
    Panel(
        "Stale share",
        [(f"shivx:all_stale_ratio:rate5m{{{JOB}}}", "stale")],
        "percentunit",
        steps=[(None, GOOD), (0.05, BAD)],
    ),
    Panel(
        "Latency by layer, p95",
        [
            (f'shivx:cache_operation_seconds:p95_5m{{{JOB},operation="read"}}', "L2: a read"),
            (f"max(shivx:cache_load_seconds:p95_5m{{{JOB}}})", "a load, of the slowest cache"),
            (f"shivx:origin_request_seconds:p95_5m{{{JOB}}}", "{{source}}"),
            (f"shivx:http_request_seconds:p95_5m{{{JOB}}}", "a request in Flask"),
        ],
        "s",
        tells="L1 takes under a microsecond, and nobody measures that.",
    ),
    Panel(
        "Reads of Redis",
        [
            (quantile(share, "cache_operation_duration_seconds"), f"p{share * 100:g}")
            for share in (0.5, 0.95, 0.99)
        ],
        "s",
        tells="All round trips.",
    ),
    Panel("Loads, p95", [(f"shivx:cache_load_seconds:p95_5m{{{JOB}}}", "{{cache}}")], "s"),
)
ORIGIN = (
    Panel(
        "Origin work saved",
        [
            (
                f"sum(sum by (cache) ({HITS})"
                f" * on (cache) sum by (cache) (shivx:cache_load_seconds:mean_5m{{{JOB}}}))",
                "saved",
            ),
            (f"sum({rate('cache_load_duration_seconds_sum')})", "done"),
        ],
        "s",
        tells="Seconds of work a second: what hits would have cost, beside what loads cost.",
    ),
    Panel(
        "Questions to exchanges",
        [(f"sum by (source, outcome) ({rate('origin_requests_total')})", "{{source}} {{outcome}}")],
        "reqps",
        stacked=True,
    ),
    Panel(
        "Requests for each question",
        [(f"sum({rate('rate_limit_requests_total')}) / sum({rate('origin_requests_total')})", "requests")],
        tells="How many answers one question to an exchange is good for.",
    ),
)
REDIS = (
    Panel(
        "What the cache holds",
        [
            (f'sum by (layer) (cache_memory_bytes{{{JOB},layer="l1"}})', "L1, all workers"),
            (f'max(cache_memory_bytes{{{JOB},layer="l2"}})', "L2"),
        ],
        "bytes",
    ),
    Panel("Memory of Redis", [(f"max by (kind) (redis_memory_bytes{{{JOB}}})", "{{kind}}")], "bytes"),
    Panel("Keys by cache", [(f"max by (cache) (cache_keys{{{JOB}}})", "{{cache}}")], stacked=True),
    Panel(
        "Evictions",
        [(f"sum by (layer) ({rate('cache_evictions_total')})", "{{layer}}")],
        "ops",
        steps=[(None, GOOD), (10.0, BAD)],
    ),
    Panel(
        "Memory in use",
        [(f"shivx:redis_memory_ratio{{{JOB}}}", "of maxmemory")],
        "percentunit",
        steps=[(None, GOOD), (0.9, BAD)],
    ),
    Panel(
        "Connections",
        [
            (f"sum by (state) (redis_pool_connections{{{JOB}}})", "pool: {{state}}"),
            (f"max(redis_connected_clients{{{JOB}}})", "of everybody"),
        ],
    ),
    Panel(
        "Circuit",
        [(f"sum by (state) (redis_circuit_state{{{JOB}}})", "{{state}}")],
        stacked=True,
        tells="Processes.",
    ),
    Panel(
        "Failed conversations",
        [(f"sum by (type) ({rate('redis_connection_errors_total')})", "{{type}}")],
        "ops",
    ),
    Panel("Connections opened", [(f"sum({rate('redis_connections_total')})", "opened")], "ops"),
)
COHERENCE = (
    Panel(
        "Backplane",
        [
            (quantile(0.95, "cache_backplane_lag_seconds"), "heartbeat, p95"),
            (f"max(cache_backplane_staleness_bound_seconds{{{JOB}}})", "bound"),
            (f"max(cache_event_lag_seconds{{{JOB}}})", "oldest event"),
        ],
        "s",
    ),
    Panel("Gaps in 10 minutes", [(f"sum(increase(cache_backplane_gaps_total{{{JOB}}}[10m]))", "gaps")]),
    Panel("Invalidations", [(f"sum by (reason) ({rate('cache_invalidations_total')})", "{{reason}}")], "ops"),
)
CLIENTS = (
    Panel(
        "Limits",
        [(f"sum by (tier, outcome) ({rate('rate_limit_requests_total')})", "{{tier}} {{outcome}}")],
        "reqps",
        stacked=True,
    ),
    Panel("Refused share", [(f"shivx:rate_limit_refused_ratio:rate5m{{{JOB}}}", "{{tier}}")], "percentunit"),
    Panel("Sessions", [(f"max(sessions_active{{{JOB}}})", "active")]),
    Panel(
        "Top errors",
        [
            (
                f"topk(10, sum by (url_rule, status) ({REFUSED}))",
                "{{status}} {{url_rule}}",
            )
        ],
        "reqps",
        "table",
        width=12,
    ),
    Panel(
        "Top errors of caches",
        [(f"topk(10, sum by (cache) ({ERRORS}))", "{{cache}}")],
        "reqps",
        "table",
        width=12,
    ),
    Panel(
        "Predictions",
        [(f"sum by (model, outcome) ({rate('ml_predictions_total')})", "{{model}} {{outcome}}")],
        "reqps",
    ),
    Panel(
        "Age of models",
        [(f"time() - max by (model) (ml_model_trained_timestamp_seconds{{{JOB}}})", "{{model}}")],
        "s",
        steps=[(None, GOOD), (14.0 * 86_400, BAD)],
    ),
    Panel(
        "What runs",
        [(f"count by (version, python) (shivx_build_info{{{JOB}}})", "{{version}}, {{python}}")],
        kind="table",
    ),
)
ROWS = {
    "Is it well": OVERVIEW,
    "Cache": CACHE,
    "Exchanges": ORIGIN,
    "Redis": REDIS,
    "Coherence": COHERENCE,
    "Clients and models": CLIENTS,
}


def panels() -> Iterator[dict[str, Any]]:
    """Yield rows and panels, each in its place."""
    number, top = 0, 0
    for title, row in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": WHOLE_WIDTH, "h": 1},
        }
        top, left, tallest = top + 1, 0, 0
        for panel in row:
            number += 1
            if left + panel.width > WHOLE_WIDTH:
                top, left, tallest = top + tallest, 0, 0
            yield described(panel, number) | {
                "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height}
            }
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def described(panel: Panel, number: int) -> dict[str, Any]:
    """Return a panel as Grafana has it."""
    instant = panel.kind in ("stat", "table")
    steps = [{"color": colour, "value": value} for value, colour in panel.steps]
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 20} if panel.stacked else {}
    form = "table" if panel.kind == "table" else "time_series"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.tells,
        "datasource": SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "instant": instant,
                "range": not instant,
                "format": form,
            }
            for at, (expression, legend) in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": custom,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
    }


def dashboard() -> dict[str, Any]:
    """Return the whole, as Grafana imports it."""
    return {
        "uid": "shivx",
        "title": "ShivX",
        "tags": ["shivx"],
        "schemaVersion": 38,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                {
                    "name": "job",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": "label_values(shivx_build_info, job)",
                    "current": {"text": "shivx", "value": "shivx"},
                    "refresh": 2,
                },
            ]
        },
        "annotations": {"list": []},
        "panels": list(panels()),
    }


def text() -> str:
    """Return the file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
