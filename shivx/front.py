"""The HTTP cache in front of the views: what goes through it, and how it is set up for the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cache_ext import HttpCache, HttpCacheOptions, TieredCache
from shivx.cdn import Cdn
from shivx.errors import NotCached
from shivx.request_ids import REQUEST_ID

COVERED = ("/api/market/", "/api/indicators", "/api/ml/")
"""What paths begin with whose answers are of the market, the same for all."""
OPTIONS = HttpCacheOptions(
    name="shivx",
    heuristic=False,  # views say how long their answers are good for
    serve_stale=False,  # views do it, and say so in the body
    credentials=("Authorization", "Cookie", "X-API-Key"),
    request_id=REQUEST_ID,
)

Application = Callable[..., Any]


def open_front(
    app: Application,
    cache: TieredCache,
    answer: Callable[[Exception], Application],
    cdn: Cdn | None = None,
) -> Application:
    """Return *app* behind a shared HTTP cache, and what that keeps known to the *cdn* by its tags.

    Args:
        answer: returns the answer to an error.
    """
    refusal = NotCached("Nothing is stored for this request, and it says only-if-cached.")

    def gives_up(environ: Any, start_response: Any) -> Any:
        return answer(refusal)(environ, start_response)

    front = HttpCache(
        app if cdn is None else cdn.inside(app),
        cache,
        covers=_is_covered,
        gives_up=gives_up,
        options=OPTIONS if cdn is None else replace(OPTIONS, surrogate_keys=True),
    )
    return front if cdn is None else cdn.outside(front)


def _is_covered(environ: Mapping[str, Any]) -> bool:
    path: str = environ.get("PATH_INFO", "")
    return path.startswith(COVERED)
