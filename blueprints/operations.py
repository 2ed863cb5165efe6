"""What operators and their machines ask: is it alive, is it ready, how is it, what are its numbers."""

from __future__ import annotations

import hmac
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from prometheus_client import CollectorRegistry, Info, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector
from prometheus_flask_exporter import PrometheusMetrics
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from blueprints.rights import ADMINS, current_caller, meets, open_to_all
from cache_ext.addresses import is_loopback
from cache_ext.metrics import DURATION_BUCKETS
from cache_ext.stats.keys import measure_keys
from cache_ext.web.health import Status, judge, store_answers
from shivx.draining import is_draining
from shivx.version import VERSION
from shivx.wiring import services_of

operations = Blueprint("operations", __name__)

_build = CollectorRegistry()
Info("shivx_build", "What answers.", registry=_build).info(
    {"version": VERSION, "python": platform.python_version()}
)
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
HTTP_METRICS = "prometheus_flask_exporter"


def measure_requests(app: Flask) -> None:
    """Count and time the requests of *app* by route; routes are few, whatever clients ask for."""
    app.extensions[HTTP_METRICS] = PrometheusMetrics(
        app,
        path=None,
        registry=CollectorRegistry(),
        group_by="url_rule",
        buckets=DURATION_BUCKETS,
        excluded_paths=["^/metrics$", "^/healthz$", "^/readyz$"],
    )


@operations.after_request
def _keep_out_of_caches(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


@operations.get("/healthz")
def healthz() -> Response:
    """Say that this process answers."""
    return jsonify(status="alive")


@operations.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Say that this process can serve: it has tried to connect and runs its threads; 503 while it drains."""
    services = services_of(current_app)
    services.cache.start()
    if is_draining(services.settings.instance_dir):
        return jsonify(status="draining"), 503
    return jsonify(status="ready"), 200


@operations.get("/api/admin/cache/health")
@open_to_all
def health() -> tuple[Response, int]:
    """Say how the cache and the origins are: healthy, degraded (200) or unhealthy (503); to admins, why."""
    services = services_of(current_app)
    origins = {name: provider.answers for name, provider in services.providers.items()}
    redis = store_answers(services.cache)
    status = judge(redis, origins)
    details = {"redis": redis, "origins": origins} if meets(current_caller(), ADMINS) else {}
    return jsonify(status=status, **details), 503 if status is Status.UNHEALTHY else 200


@operations.get("/metrics")
def metrics() -> Response:
    """Return the numbers of all workers, to this host or to whoever has the token."""
    _require_scraper()
    services = services_of(current_app)
    services.sessions.measure()
    measure_keys(services.cache.gateway, services.cache.runtime.keyspace)
    if MULTIPROCESS in os.environ:
        registry = CollectorRegistry()
        registry.register(_AllWorkers())
        text = generate_latest(registry)
    else:
        text = generate_latest(REGISTRY) + generate_latest(current_app.extensions[HTTP_METRICS].registry)
    return Response(text + generate_latest(_build), content_type=CONTENT_TYPE_LATEST)


class _AllWorkers(Collector):
    """The numbers of all workers, but of one that has just made its file and not yet written to it."""

    def collect(self) -> Iterable[Metric]:
        """Return the sums over all files that hold anything."""
        files = [str(path) for path in Path(os.environ[MULTIPROCESS]).glob("*.db") if _size(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _require_scraper() -> None:
    """Raise Unauthorized unless the peer is this host itself or shows the token."""
    token, given = services_of(current_app).settings.metrics_token, request.authorization
    if token is not None and given is not None and given.type == "bearer":
        shown = (given.token or "").encode()
        if hmac.compare_digest(shown, token.get_secret_value().encode()):
            return
    forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    if not forwarded and is_loopback(request.environ.get("REMOTE_ADDR", "")):
        return
    raise Unauthorized(
        "The metrics are for this host, or for the bearer of SHIVX_METRICS_TOKEN.",
        www_authenticate=WWWAuthenticate("bearer", {"realm": "metrics"}),
    )
