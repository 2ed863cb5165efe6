"""How gunicorn serves the application: ``gunicorn -c gunicorn.conf.py wsgi:app``.

The master only supervises: it reads the settings, so that a wrong one ends the start with a clear message,
holds the embedded Valkey, so that it outlasts a reload, and connects to nothing. Each worker starts its own
threads and connections, after the fork.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from shivx import draining, numbers_folder
from shivx.config import Settings
from shivx.embedded import EmbeddedUnavailable, EmbeddedValkey
from shivx.errors import ConfigurationError, DatabaseUnavailable
from shivx.one_time_links import OneTimeLinks, are_offered
from shivx.server_log import server_log
from shivx.tracing.wanted import traces_wanted

try:
    _settings = Settings.from_environment()
    traces_wanted(os.environ)
except ConfigurationError as error:
    sys.exit(f"ShivX cannot start:\n{error}")

workers = int(os.environ.get("WEB_CONCURRENCY") or os.cpu_count() or 1)
if workers < 1:
    sys.exit(f"ShivX cannot start:\nWEB_CONCURRENCY: must be a whole number of at least 1, not {workers}")

_run = _settings.instance_dir / "run"
_metrics = _run / f"metrics-{os.getpid()}"  # of this master alone: a second start must not touch the first's

bind = _settings.bind
worker_class = "gevent"  # measured against gthread: docs/performance.md
threads = 16  # per worker, if --worker-class gthread is chosen
worker_connections = 1000
limit_request_line = 8190  # bytes, the most there is: a hundred long pairs in a query fit
keepalive = 65  # seconds; longer than balancers keep theirs, so that it is they who close
timeout = 60
LEAST_GRACE = 5
graceful_timeout = max(LEAST_GRACE, round(_settings.drain_seconds))  # of requests under way after the drain
# No header makes a request another here: ProxyFix reads what proxies say, as SHIVX_TRUSTED_PROXIES counts.
forwarded_allow_ips, forwarder_headers, secure_scheme_headers = "", "", {}
control_socket_disable = True  # gunicorn 27 would open one in the home folder, the same for all checkouts
loglevel = _settings.log_level
logger_class = server_log(_settings)
WORKER_BOOT_ERROR = 3  # by which a worker tells gunicorn's master to give up instead of trying again

os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)
_INHERITED = {"GUNICORN_FD", "LISTEN_FDS"}  # with one of them the sockets come from outside


def on_starting(server: Any) -> None:
    """Say which address is taken: gunicorn tries it for five seconds, and then only that it can't connect."""
    for address in server.cfg.address:
        if not _INHERITED & os.environ.keys() and _is_taken(address):
            print(  # noqa: T201
                f"\n{address[0]}:{address[1]} is in use, by another ShivX perhaps; SHIVX_BIND=HOST:PORT "
                "names another address.\nWaiting some seconds for this one ...\n",
                file=sys.stderr,
                flush=True,
            )


def when_ready(server: Any) -> None:
    """Drop the numbers of masters that are gone, and tell the newcomer what to do next."""
    server.handle_hup = partial(_reload_if_right, server, server.handle_hup)
    server.handle_term = partial(_drain, server, server.handle_term)
    draining.end(_settings.instance_dir)  # of an earlier master that had the same number
    _hold_embedded(server)
    for left in _run.glob("metrics-*"):
        if left == _metrics or not _is_alive(left):  # ours: of an earlier master that had the same number
            numbers_folder.remove(left)
    url = str(server.LISTENERS[0])
    origin = ", ".join(_settings.market_source)
    note = " (a simulated market: no real prices)" if "simulated" in _settings.market_source else ""
    print(  # noqa: T201
        f"\nShivX serves {origin}{note} on {url}\n"
        f"  try     curl -i {url}/api/market/price/ADA-USDC\n"
        f"  health  {url}/api/admin/cache/health   numbers  {url}/metrics\n"
        f"  docs    {url}/docs   the API   README.md and docs/   all else\n"
        f"  admin   {url}/admin/cache   the dashboard\n{_way_in(server, url)}",
        flush=True,
    )


def pre_fork(server: Any, worker: Any) -> None:
    """Make room for the worker's numbers; after a reload that may be elsewhere."""
    numbers_folder.make(_metrics)


def post_worker_init(worker: Any) -> None:
    """Connect and start this worker's threads before its first request."""
    from shivx.wiring import services_of  # noqa: PLC0415 - not in the master

    # Ctrl-C reaches the whole group, and the master passes it on as SIGQUIT. The handler of both takes a lock
    # of gthread's pool: a second signal that interrupts the first would wait for it until it is killed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    services = services_of(worker.wsgi)
    services.start()
    _see_to_database(worker, services.access.database.prepare)
    services.launcher.belong_to(os.getppid())
    if _settings.cache_warming_enabled:
        services.warming.begin()
        services.retraining.begin_first()
    gc.collect()
    gc.freeze()  # what is here stays; looking through it over and over took a tenth of the application's time


def post_request(worker: Any, request: Any, environ: Any, response: Any) -> None:
    """Give the other connections their turn.

    A client that asks again at once finds its greenlet still running, which then need not wait for data and
    so never yields: measured with 64 connections, some waited for over a second while others were served.
    """
    time.sleep(0)  # under gevent, which patches it: let others run


def worker_exit(server: Any, worker: Any) -> None:
    """Let loads under way end, and say goodbye to Redis and the database."""
    application = getattr(worker, "wsgi", None)  # None if it died before it had one
    if application is not None:
        from shivx.wiring import services_of  # noqa: PLC0415 - not in the master

        services_of(application).close()


def child_exit(server: Any, worker: Any) -> None:
    """Drop what the worker alone reported of itself; its counts stay."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - needs the variable above

    mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    draining.end(_settings.instance_dir)
    numbers_folder.remove(_metrics)
    if link := getattr(server, "link", None):
        OneTimeLinks(_settings.instance_dir).drop(link)


def _way_in(server: Any, url: str) -> str:
    """Return the line with a link that lets whoever reads it in as an admin; "" if there are none here."""
    if not are_offered(_settings):
        return ""
    try:
        server.link = OneTimeLinks(_settings.instance_dir).make()
    except OSError as error:
        server.log.warning("no link to log in by: %s", error)
        return ""
    return f"          {url}/admin/login/once#token={server.link}   lets you in: once, within 15 minutes\n"


def _hold_embedded(server: Any) -> None:
    """Take a share in the embedded Valkey: on reload the old workers may be gone before the new ones come."""
    if _settings.redis_url is None:
        try:
            EmbeddedValkey(_settings.instance_dir).ensure()
        except EmbeddedUnavailable as error:
            server.log.warning("%s", error)


def _see_to_database(worker: Any, prepare: Callable[[], None]) -> None:
    """End the whole start if the tables are out of date; if the database is away, serve what needs none."""
    try:
        prepare()
    except ConfigurationError as error:
        print(f"ShivX cannot start:\n{error}", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(WORKER_BOOT_ERROR)
    except DatabaseUnavailable as error:
        worker.log.warning("%s; accounts and API keys have to wait for it", error)


def _drain(server: Any, end: Callable[[], None]) -> None:
    """Serve on for the time of the drain, telling balancers so, and then *end*; told twice, at once."""
    if _settings.drain_seconds <= 0 or draining.is_begun(_settings.instance_dir):
        end()
    try:
        draining.begin(_settings.instance_dir)
    except OSError as error:
        server.log.warning("not drained, since nobody can be told: %s", error)
        end()
    server.log.info("Draining for %s s", _settings.drain_seconds)
    signal.signal(signal.SIGALRM, lambda *_: server.SIG_QUEUE.put_nowait(signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, _settings.drain_seconds)


def _reload_if_right(server: Any, reload: Callable[[], None]) -> None:
    """Do as SIGHUP says unless a setting has become wrong, which would end the service that runs."""
    try:
        Settings.from_environment()
    except ConfigurationError as error:
        server.log.error("Not reloaded, and serving on as before:\n%s", error)
    else:
        reload()


def _is_taken(address: object) -> bool:
    """Tell whether somebody listens on *address*, HOST and port; False for other kinds."""
    if not isinstance(address, tuple):
        return False
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _is_alive(folder: Path) -> bool:
    """Tell whether the master that *folder* is named after still runs."""
    try:
        os.kill(int(folder.name.rpartition("-")[2]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
