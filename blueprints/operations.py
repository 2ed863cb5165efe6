"""What operators and their machines ask: is it alive, is it ready, how is it, what are its numbers."""

from __future__ import annotations

import hmac

from flask import Blueprint, Response, current_app, jsonify, request
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from blueprints.exposition import exposition
from blueprints.rights import ADMINS, current_caller, meets, open_to_all
from cache_ext.addresses import is_loopback
from cache_ext.web.health import Status
from shivx.draining import is_draining
from shivx.health import Health
from shivx.wiring import services_of

operations = Blueprint("operations", __name__)


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
    seen = Health(services_of(current_app))
    details = seen.details() if meets(current_caller(), ADMINS) else {}
    return jsonify(status=seen.status, **details), 503 if seen.status is Status.UNHEALTHY else 200


@operations.get("/metrics")
def metrics() -> Response:
    """Return the numbers of all workers, to this host or to whoever has the token."""
    _require_scraper()
    return Response(exposition(current_app), content_type=CONTENT_TYPE_LATEST)


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
