"""What requests cost, and limits of single views: here, by endpoint, is all that is not as usual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from cache_ext.flask_limiter import view_limits
from cache_ext.limits.limiter import Limiter
from shivx.gate import LIMIT
from shivx.identity import caller_of

COSTS: Mapping[str, int] = {}
"""Units of the caller's limit by endpoint, as ``market.list_candles``. Whatever is not named costs 1."""
VIEW_LIMITS: Mapping[str, str] = {}
"""Limits beside that of the tier, by endpoint, as Flask-Limiter reads them: ``10/minute; 100/hour``."""


class CostTable:
    """Tells what requests cost.

    Args:
        routes: of the application.
        costs: units by endpoint.
    """

    def __init__(self, routes: Map, costs: Mapping[str, int]) -> None:
        self._routes = routes
        self._costs = dict(costs)

    def cost_of(self, environ: dict[str, Any]) -> int:
        """Return what the request of *environ* costs."""
        if not self._costs:
            return 1
        try:
            endpoint, _ = self._routes.bind_to_environ(environ).match()
        except HTTPException:
            return 1
        return self._costs.get(str(endpoint), 1)


def limit_views(app: Flask, limiter: Limiter, texts: Mapping[str, str]) -> None:
    """Let the views of *app* that *texts* name by their endpoints have limits of their own.

    Each counts by caller, as the gate does, and is checked behind it.
    """
    if not texts:
        return
    limits = view_limits(
        limiter, lambda: caller_of(request.environ).subject, counted=lambda environ: LIMIT in environ
    )
    limits.init_app(app)
    for endpoint, text in texts.items():
        view: Any = limits.limit(text)(app.view_functions[endpoint])
        app.view_functions[endpoint] = view
