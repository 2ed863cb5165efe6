"""What a request demands of a stored response. Source: RFC 9111, 5.2.1 and 5.4; RFC 5861, section 4."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from cache_ext.http_cache.fields import Directives


class RequestRules(NamedTuple):
    """What a request demands; times are seconds.

    Args:
        validate: no stored response without asking the application.
        no_store: keep nothing of this exchange.
        only_if_cached: a stored response or 504.
        max_age: of the response, at most.
        min_fresh: that it stays fresh, at least.
        max_stale: past its freshness, at most.
        stale_if_error: past its freshness if the application fails, at most; None: as the response says.
    """

    validate: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: float = math.inf
    min_fresh: float = 0.0
    max_stale: float = 0.0
    stale_if_error: float | None = None

    def takes_fresh(self, age: float, fresh_for: float) -> bool:
        """Tell whether a fresh response, *age* seconds old and fresh for *fresh_for* more, will do."""
        return not self.validate and age <= self.max_age and fresh_for >= self.min_fresh

    def takes_stale(self, age: float, stale_for: float) -> bool:
        """Tell whether a response that is stale for *stale_for* seconds will do (section 5.2.1.2)."""
        fits = age <= self.max_age and self.min_fresh == 0.0
        return not self.validate and fits and stale_for <= self.max_stale > 0.0


NO_DEMANDS = RequestRules()


@lru_cache(512)
def rules_of(cache_control: str | None, pragma: str | None) -> RequestRules:
    """Return what the fields of a request demand; Pragma counts only without Cache-Control."""
    if cache_control is None:
        return RequestRules(validate="no-cache" in Directives(pragma)) if pragma else NO_DEMANDS
    said = Directives(cache_control)
    max_age = said.seconds("max-age")
    return RequestRules(
        validate="no-cache" in said or max_age == 0,
        no_store="no-store" in said,
        only_if_cached="only-if-cached" in said,
        max_age=math.inf if max_age is None else float(max_age),
        min_fresh=float(said.seconds("min-fresh") or 0),
        max_stale=_max_stale(said),
        stale_if_error=None if (found := said.seconds("stale-if-error")) is None else float(found),
    )


def _max_stale(said: Directives) -> float:
    if "max-stale" not in said:
        return 0.0
    return math.inf if said.is_bare("max-stale") else float(said.seconds("max-stale") or 0)
