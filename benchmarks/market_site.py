"""The whole service for load over HTTP, limits on and a model trained, and what its counters say."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.service import GunicornService

WORKERS = 2
PLAIN, MANY_PAIRS = "wsgi:app", "benchmarks.many_pairs:make_app()"
_LOADS = re.compile(r'^cache_load_duration_seconds_(count|sum)\{cache="(\w+)"\} (\S+)$', re.MULTILINE)
_CALLS = re.compile(r"^origin_requests_total\{.*\} (\S+)$", re.MULTILINE)


@contextmanager
def market_site(
    redis_url: str, app: str = PLAIN, *, workers: int = WORKERS, model: bool = True, **settings: str
) -> Iterator[GunicornService]:
    """Run the service behind one proxy, as it takes itself to be, while the block lasts.

    Args:
        app: what gunicorn serves.
        model: whether one is trained, for predictions.
        settings: further ones, without their ``SHIVX_``.
    """
    env: dict[str, str | None] = {f"SHIVX_{name}": value for name, value in settings.items()}
    common = {"SHIVX_REDIS_URL": redis_url, "SHIVX_SECRET_KEYS": "measure" * 8, "SHIVX_TRUSTED_PROXIES": "1"}
    service = GunicornService(workers=workers, env={"SHIVX_LIMIT_ANONYMOUS": None, **common, **env}, app=app)
    with service:
        if model:
            trained(service, app)
        yield service


def trained(service: GunicornService, app: str = PLAIN) -> None:
    """Have a model trained, for predictions."""
    done = service.run("flask", "--app", app, "ml", "train", "direction")
    if done.returncode:
        sys.exit(done.stderr)


def port_of(service: GunicornService) -> int:
    """Return the port that it listens on."""
    return int(service.url.rpartition(":")[2])


def loads(service: GunicornService) -> dict[str, tuple[float, float]]:
    """Return how often each cache's loaders were called, and what they took in all, seconds."""
    found: dict[str, dict[str, float]] = {}
    for what, cache, value in _LOADS.findall(_metrics(service)):
        found.setdefault(cache, {})[what] = float(value)
    return {cache: (each["count"], each["sum"]) for cache, each in found.items()}


def origin_calls(service: GunicornService) -> int:
    """Return how often the exchange was asked."""
    return round(sum(float(each) for each in _CALLS.findall(_metrics(service))))


def _metrics(service: GunicornService) -> str:
    return service.get("/metrics").body.decode()
