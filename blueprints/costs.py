"""What requests cost: one unit of the caller's limit, but for the views that declare more here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

COSTS: Mapping[str, int] = {}
"""By endpoint, as ``market.list_candles``. Whatever is not named costs 1."""


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
