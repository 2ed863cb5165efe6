"""What a read with a loader answers: a value and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from cache_ext.loading.loaded import NotLoaded


class Outcome(StrEnum):
    """How a value was come by. HIT: nobody waited for the origin. STALE: it is past its ttl."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"


class Fetched(Struct, frozen=True, gc=False):
    """A value and where it comes from.

    Args:
        value: the value.
        outcome: hit, miss or stale.
        layer: ``l1``, ``l2`` or ``origin``.
        age: seconds since its loader (of nested values: the oldest one) was called.
        ttl_left: seconds for which it is still fresh; negative if it is stale.
        as_of: the data's own time, Unix seconds; None if the loader gave none.
    """

    value: Any
    outcome: Outcome
    layer: str
    age: float
    ttl_left: float
    as_of: float | None = None


def values_of(results: Mapping[str, Fetched | Exception]) -> dict[str, Any]:
    """Return the values of *results*, without what the loader left out; raise the first other exception."""
    values = {}
    for key, result in results.items():
        if isinstance(result, NotLoaded):
            continue
        if isinstance(result, Exception):
            raise result
        values[key] = result.value
    return values
