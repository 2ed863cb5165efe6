"""The text that Prometheus reads: the numbers of all workers, and of what they share."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector
from prometheus_flask_exporter import PrometheusMetrics

from cache_ext import metrics
from cache_ext.engine import TieredCache
from cache_ext.errors import StoreUnavailable
from cache_ext.metrics import DURATION_BUCKETS
from cache_ext.stats.keys import measure_keys
from cache_ext.stats.redis_facts import RedisFacts, redis_facts
from shivx.accounts.offload import off_hub
from shivx.errors import UnknownModel
from shivx.ml.kinds import MODELS
from shivx.ml.manifest import DamagedModel
from shivx.ml.registry import Registry, RegistryUnavailable
from shivx.version import VERSION
from shivx.wiring import Services, services_of

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
HTTP_METRICS = "prometheus_flask_exporter"
L2 = {"layer": "l2"}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
OTHER_METHOD = "other"


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
    app.after_request(_name_method)  # runs before the exporter's own, which was there first


def _name_method(response: Response) -> Response:
    """Call methods that nobody knows by one name: the exporter makes a series of each that clients invent."""
    if request.method not in METHODS:
        request.method = OTHER_METHOD
    return response


def exposition(app: Flask) -> bytes:
    """Return all numbers of *app*, right whichever of its workers is asked."""
    registry = CollectorRegistry()
    registry.register(_Everything(app))
    return generate_latest(registry)


class _Everything(Collector):
    """What the workers counted, and what is read from Redis and the models when somebody asks."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def collect(self) -> Iterable[Metric]:
        """Return all families, each once."""
        services = services_of(self._app)
        services.sessions.measure()
        held = measure_keys(services.cache.gateway, services.cache.runtime.keyspace)
        facts = _facts(services.cache)
        yield from _with_redis(self._counted(), held, facts)
        yield from _of_redis(facts)
        yield _of_models(services)
        build = {"version": VERSION, "python": platform.python_version()}
        yield InfoMetricFamily("shivx_build", "What answers.", build)

    def _counted(self) -> Iterable[Metric]:
        """Return what is counted; nothing of a worker that has just made its file, which is empty."""
        if MULTIPROCESS not in os.environ:
            return [*REGISTRY.collect(), *self._app.extensions[HTTP_METRICS].registry.collect()]
        files = [str(path) for path in Path(os.environ[MULTIPROCESS]).glob("*.db") if _size(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _with_redis(counted: Iterable[Metric], held: int | None, facts: RedisFacts | None) -> Iterator[Metric]:
    """Return what is counted, and in it what lies in Redis and goes from there, be it nowhere else."""
    of_redis = {
        "cache_memory_bytes": GaugeMetricFamily("cache_memory_bytes", metrics.memory_bytes._documentation),
        "cache_evictions": CounterMetricFamily("cache_evictions", metrics.evictions._documentation),
    }
    found = of_redis | {family.name: family for family in counted}
    if held is not None:
        found["cache_memory_bytes"].add_sample("cache_memory_bytes", L2, held)
    if facts is not None:
        found["cache_evictions"].add_sample("cache_evictions_total", L2, facts.evicted_keys)
    yield from found.values()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _facts(cache: TieredCache) -> RedisFacts | None:
    if cache.gateway is not None:
        with suppress(StoreUnavailable):
            return redis_facts(cache.gateway)
    return None


def _of_redis(facts: RedisFacts | None) -> Iterator[Metric]:
    """Return what Redis says of itself, nothing while it is away."""
    memory = GaugeMetricFamily("redis_memory_bytes", "Memory of Redis (used, limit).", labels=["kind"])
    clients = GaugeMetricFamily("redis_connected_clients", "Connections of everybody to Redis.")
    if facts is not None:
        memory.add_metric(["used"], facts.memory_bytes)
        if facts.max_memory_bytes is not None:
            memory.add_metric(["limit"], facts.max_memory_bytes)
        clients.add_metric([], facts.clients)
    yield from (memory, clients)


def _of_models(services: Services) -> Metric:
    """Return when the models that serve were trained."""
    family = GaugeMetricFamily(
        "ml_model_trained_timestamp_seconds", "When the model that serves was trained.", labels=["model"]
    )
    registry = services.predictions.sessions.registry
    for name, at in off_hub(lambda: dict(_trained(registry))).items():
        family.add_metric([name], at)
    return family


def _trained(registry: Registry) -> Iterator[tuple[str, float]]:
    for name in MODELS:
        with suppress(RegistryUnavailable, UnknownModel, DamagedModel):
            if (active := registry.active(name)) is not None:
                yield name, registry.manifest(name, active).trained_at
