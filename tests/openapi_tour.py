"""A request for each operation of the API, to see that answers are as /openapi.json says.

``python -m tests.openapi_tour redis://127.0.0.1:6379/15`` makes the document's examples anew, of what the
service really answers; it wants an empty Redis.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from shivx.identity import Tier
from shivx.jobs.store import new_id
from tests.accounts_stage import PASSWORD
from tests.market_stage import Site, open_site, settings_for
from tests.model_stage import activate

EXAMPLES = Path(__file__).parent.parent / "blueprints/openapi/examples.json"
SHOWN = 2
"""Rows of a list, or lines of a table, that an example has."""
ROW = 6
"""Numbers of a row: a candle has so many."""


class Visit(NamedTuple):
    """A request, and what came of it."""

    operation: str
    response: Any


VISITS: tuple[tuple[str, str, str, Any], ...] = (
    ("listPairs", "GET", "/api/market/pairs", None),
    ("getPrice", "GET", "/api/market/price/BTC-USDC", None),
    ("getPrices", "GET", "/api/market/prices?pairs=BTC-USDC,NO-PAIR", None),
    ("getOrderBook", "GET", "/api/market/orderbook/BTC-USDC?depth=2", None),
    ("listCandles", "GET", "/api/market/ohlcv/BTC-USDC?limit=2", None),
    ("listTrades", "GET", "/api/market/trades/BTC-USDC?limit=2", None),
    ("getToken", "GET", "/api/market/tokens/BTC", None),
    ("listIndicators", "GET", "/api/indicators", None),
    ("getIndicators", "GET", "/api/indicators/BTC-USDC?series=2", None),
    ("getCorrelation", "GET", "/api/indicators/correlation?pairs=BTC-USDC,ETH-USDC", None),
    ("listModels", "GET", "/api/ml/models", None),
    ("getPrediction", "GET", "/api/ml/predict/BTC-USDC", None),
    ("getPredictions", "GET", "/api/ml/predictions?pairs=BTC-USDC,NO-PAIR", None),
    ("getMe", "GET", "/api/auth/me", None),
    ("listSessions", "GET", "/api/auth/sessions", None),
    ("createKey", "POST", "/api/auth/keys", {"name": "my bot"}),
    ("listKeys", "GET", "/api/auth/keys", None),
    ("revokeKey", "DELETE", "/api/auth/keys/1", None),
    ("postEvents", "POST", "/api/events", {"type": "trade_executed", "pair": "BTC-USDC", "id": "t-1"}),
    ("getCacheStats", "GET", "/api/admin/cache/stats", None),
    ("getCacheHealth", "GET", "/api/admin/cache/health", None),
    ("explainCache", "GET", "/api/admin/cache/explain?path=/api/market/price/ETH-USDC", None),
    ("explainCache", "GET", "/api/admin/cache/explain?request_id=nobodys", None),
    ("invalidateCache", "POST", "/api/admin/cache/invalidate", {"tags": ["pair:simulated:BTC-USDC"]}),
    ("invalidateCache", "POST", "/api/admin/cache/invalidate", {"tags": ["t"], "dry_run": True}),
    ("flushCache", "POST", "/api/admin/cache/flush", {"reason": "a bad deploy"}),
    ("listAudit", "GET", "/api/admin/audit?limit=2", None),
    ("warmCache", "POST", "/api/admin/cache/warm", {"pairs": ["BTC-USDC"]}),
    ("retrainModel", "POST", "/api/ml/models/direction/retrain", None),
    ("getJob", "GET", "/api/ml/jobs/{job}", None),
    ("cancelJob", "DELETE", "/api/ml/jobs/{job}", None),
    ("getLiveness", "GET", "/healthz", None),
    ("getReadiness", "GET", "/readyz", None),
    ("getMetrics", "GET", "/metrics", None),
    ("explainProblem", "GET", "/problems/unknown_pair", None),
    ("getDocument", "GET", "/openapi.json", None),
    ("revokeSession", "DELETE", "/api/auth/sessions/{session}", None),
    ("login", "POST", "/api/auth/login", {"username": "root", "password": PASSWORD}),
    ("revokeOtherSessions", "DELETE", "/api/auth/sessions", None),
    ("logout", "POST", "/api/auth/logout", None),
)
"""Operation, method, path, body; the admin asks, who is logged in before."""


@contextmanager
def opened(redis_url: str, namespace: str, folder: Path) -> Iterator[Site]:
    """Open the application on a simulated market, with models and an admin."""
    for name, probabilities in (("direction", (0.2, 0.3, 0.5)), ("volatility", (0.5, 0.3, 0.2))):
        activate(folder / "models", name, probabilities)
    settings = settings_for(
        redis_url, cache_namespace=namespace, instance_dir=folder, model_dir=folder / "models"
    )
    with open_site(settings) as site:
        site.services.access.accounts.create("root", Tier.ADMIN, PASSWORD)
        yield site


def tour(site: Site) -> Iterator[Visit]:
    """Make all visits; jobs are begun, and never run."""
    site.services.launcher.launch = lambda thing, *_: _begun(site, thing)  # type: ignore[method-assign, assignment]
    root = site.app.test_client()
    root.post("/api/auth/login", json={"username": "root", "password": PASSWORD})
    job, session = "", ""
    for operation, method, path, body in VISITS:
        response = root.open(path.format(job=job, session=session), method=method, json=body)
        told = response.json if response.is_json else {}
        job = told["id"] if operation == "retrainModel" else job
        session = told["sessions"][0]["id"] if operation == "listSessions" else session
        yield Visit(operation, response)


def _begun(site: Site, thing: str) -> Any:
    job = new_id(thing)
    site.services.launcher.jobs.begin(job)
    return site.services.launcher.jobs.get(job)


def shortened(told: Any) -> Any:
    """Return *told* with few items in each list and table."""
    if isinstance(told, list):
        rows = any(isinstance(each, list | dict) for each in told)
        return [shortened(each) for each in told[: SHOWN if rows else ROW]]
    if isinstance(told, dict):
        keep = len(told) if all(re.fullmatch("[a-z_0-9]+", key) for key in told) else SHOWN
        return {key: shortened(value) for key, value in list(told.items())[:keep]}
    return told


def main() -> None:
    """Write the examples."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, opened(sys.argv[1], "docs", Path(folder)) as site:
        for visit in tour(site):
            if visit.response.is_json and visit.operation != "getDocument":
                found.setdefault(visit.operation, shortened(visit.response.json))
    EXAMPLES.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
