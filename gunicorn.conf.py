"""How gunicorn serves the application: ``gunicorn -c gunicorn.conf.py wsgi:app``.

The master only supervises: it reads the settings, so that a wrong one ends the start with a clear message,
and connects to nothing. Each worker starts its own threads and connections, after the fork.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from shivx.config import Settings
from shivx.errors import ConfigurationError

try:
    _settings = Settings.from_environment()
except ConfigurationError as error:
    sys.exit(f"ShivX cannot start:\n{error}")

_run = _settings.instance_dir / "run"
_metrics = _run / f"metrics-{os.getpid()}"  # of this master alone: a second start must not touch the first's

bind = _settings.bind
worker_class = "gevent"  # measured against gthread: docs/performance.md
workers = int(os.environ.get("WEB_CONCURRENCY") or os.cpu_count() or 1)
threads = 16  # per worker, if --worker-class gthread is chosen
worker_connections = 1000
keepalive = 65  # seconds; longer than balancers keep theirs, so that it is they who close
timeout = 60
graceful_timeout = max(1, round(_settings.drain_seconds))
control_socket_disable = True  # gunicorn 27 would open one in the home folder, the same for all checkouts
loglevel = _settings.log_level

os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)


def on_starting(server: Any) -> None:
    """Make room for the workers' numbers; drop those of masters that are gone."""
    _metrics.mkdir(parents=True, exist_ok=True)
    for left in _run.glob("metrics-*"):
        if not _is_alive(left):
            shutil.rmtree(left, ignore_errors=True)


def when_ready(server: Any) -> None:
    """Tell the newcomer what to do next."""
    url = str(server.LISTENERS[0])
    origin = ", ".join(_settings.market_source)
    note = " (a simulated market: no real prices)" if "simulated" in _settings.market_source else ""
    print(  # noqa: T201
        f"\nShivX serves {origin}{note} on {url}\n"
        f"  try     curl -i {url}/api/market/price/SOL-USDC\n"
        f"  health  {url}/api/admin/cache/health   numbers  {url}/metrics\n"
        f"  docs    README.md and docs/; the dashboard is not built yet\n",
        flush=True,
    )


def post_worker_init(worker: Any) -> None:
    """Connect and start this worker's threads before its first request."""
    from cache_ext import cache_of  # noqa: PLC0415 - not in the master

    cache_of(worker.wsgi).start()


def post_request(worker: Any, request: Any, environ: Any, response: Any) -> None:
    """Give the other connections their turn.

    A client that asks again at once finds its greenlet still running, which then need not wait for data and
    so never yields: measured with 64 connections, some waited for over a second while others were served.
    """
    time.sleep(0)  # under gevent, which patches it: let others run


def worker_exit(server: Any, worker: Any) -> None:
    """Let loads under way end, and say goodbye to Redis."""
    application = getattr(worker, "wsgi", None)  # None if it died before it had one
    if application is not None:
        from cache_ext import cache_of  # noqa: PLC0415 - not in the master

        cache_of(application).close()


def child_exit(server: Any, worker: Any) -> None:
    """Drop what the worker alone reported of itself; its counts stay."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - needs the variable above

    mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    shutil.rmtree(_metrics, ignore_errors=True)


def _is_alive(folder: Path) -> bool:
    """Tell whether the master that *folder* is named after still runs."""
    try:
        os.kill(int(folder.name.rpartition("-")[2]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
