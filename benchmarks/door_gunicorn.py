"""Gunicorn's settings of the peers: those of ``gunicorn.conf.py`` that say how requests are served."""

from __future__ import annotations

import time
from typing import Any

worker_class = "gevent"
worker_connections = 1000
keepalive = 65  # seconds
timeout = 60
graceful_timeout = 5
forwarded_allow_ips, forwarder_headers, secure_scheme_headers = "", "", {}
control_socket_disable = True


def post_request(worker: Any, request: Any, environ: Any, response: Any) -> None:
    """Give the other connections their turn, as the service does."""
    time.sleep(0)
