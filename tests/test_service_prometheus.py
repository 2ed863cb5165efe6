"""Prometheus and the dashboard on the running service: what they show, and who is woken when Redis dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.dashboard import text
from tests.model_stage import activate
from tests.prometheus_server import prometheus_at
from tests.promtool import DEPLOYED
from tests.servers import RunningServer
from tests.service import ROOT, GunicornService
from tests.traffic import PATIENCE, PRICE, at_once, steady, until_all_serve, until_seen
from tests.waiting import until

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("prometheus")]

WORKERS = 2
FOLDER = ROOT / "deploy/grafana"
FILE = FOLDER / "dashboards/shivx.json"
DASHBOARD = json.loads(FILE.read_text())
ASKED = (
    "/api/market/prices?pairs=BTC-USDC,ETH-USDC",
    "/api/market/ohlcv/BTC-USDC",
    "/api/indicators/BTC-USDC?names=rsi",
    "/api/ml/predict/BTC-USDC?model=direction",
    "/nowhere",
)
NOT_WHILE_WELL = {
    "Failed conversations": "Redis answers",
    "Top errors of caches": "each read finds something",
    "Invalidations": "nobody invalidates",
}
"""Panels that may be empty, and why."""


def expressions() -> Iterator[tuple[str, str]]:
    """Yield the title and the expression of each query of the dashboard."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$job", "shivx")


def loaded(file: Path) -> Any:
    """Return what a YAML file says."""
    return yaml.safe_load(file.read_text())


def test_the_dashboard_is_what_its_script_makes() -> None:
    """As Grafana finds it: where it is told to look, of the job that is scraped."""
    assert FILE.read_text() == text()
    (provider,) = loaded(FOLDER / "provisioning/dashboards/shivx.yml")["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    (source,) = loaded(FOLDER / "provisioning/datasources/prometheus.yml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (scraped,) = loaded(DEPLOYED / "prometheus.yml")["scrape_configs"]
    assert scraped["job_name"] == DASHBOARD["templating"]["list"][1]["current"]["value"]


def test_panels_have_their_place() -> None:
    """None covers another, none has the title of another, and each asks for something."""
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len({*titles}) == len(titles)
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]
    assert {title for title, _ in expressions()} >= NOT_WHILE_WELL.keys()


@pytest.mark.parametrize("server_kind", ["redis"])
def test_the_dashboard_shows_what_is_and_alerts_fire_when_redis_dies(start_redis, tmp_path: Path) -> None:
    """Two workers under load: each panel has data; then Redis is killed, and the alerts say so, no others."""
    server: RunningServer = start_redis("--maxmemory", "64mb")
    activate(tmp_path, "direction", (0.2, 0.3, 0.5))
    env = {
        "SHIVX_REDIS_URL": server.url,
        "SHIVX_SECRET_KEYS": "a-secret-that-is-long-enough-for-it",
        "SHIVX_CACHE_MARKET_PRICE_TTL": "1",
        "SHIVX_CACHE_OP_TIMEOUT": "1",  # a busy machine is no dead Redis
        "SHIVX_MODEL_DIR": str(tmp_path),
    }
    with (
        GunicornService(workers=WORKERS, env=env) as service,
        prometheus_at(service.url.removeprefix("http://")) as prometheus,
    ):
        until_all_serve(service, WORKERS)
        with steady(service, PRICE, 2) as seen:
            for path in ASKED:
                at_once(service, path, 2 * WORKERS)
            until_seen(seen, 20)
            empty = {expression: title for title, expression in expressions()}

            def shown() -> bool:
                for expression in [*empty]:
                    if prometheus.query(expression):
                        del empty[expression]
                return {*empty.values()} <= NOT_WHILE_WELL.keys()

            try:
                until(shown, "all panels have data", PATIENCE)
            except TimeoutError:
                pytest.fail(f"empty: {empty}")
            assert not prometheus.firing() & {"ShivxCircuitOpen", "ShivxRedisConnectionFailures", "ShivxDown"}
            server.kill()
            woken = {"ShivxCircuitOpen", "ShivxRedisConnectionFailures"}
            until(lambda: prometheus.firing() >= woken, "whoever is on call is woken", PATIENCE)
            failed = dict(expressions())["Failed conversations"]
            assert prometheus.query(failed)
