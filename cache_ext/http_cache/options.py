"""How a door is set up: `Options`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cache_ext.errors import ConfigurationError
from cache_ext.policy import MAX_TTL

_TOKEN = re.compile(r"[A-Za-z0-9*!#$%&'+.^_`|~-]+\Z")
_SECONDS = ("longest", "validation_window", "uncacheable_for")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a door is set up. Times are seconds.

    Args:
        name: of this cache in ``Cache-Status``, and the ``cache`` label of the metrics.
        heuristic: responses that do not say how long they are fresh may be so for a tenth of the time
            since their last change, where RFC 9111 allows it.
        serve_stale: obey ``stale-while-revalidate`` and ``stale-if-error``.
        longest: that anything is fresh, and past that stale, whatever it says.
        validation_window: past its freshness for which a response is kept to be validated.
        timeout: that the application may take while a stale response could be served; None: no limit.
        make_etags: give responses that come without one an ETag, of their bytes.
        compress: keep gzip, br and zstd beside the text that the application gave.
        max_body_bytes: longer bodies are passed on and not stored.
        max_variants: of one URL that this process stores.
        uncacheable_for: for which requests do not wait for each other after one of them was answered by
            what may not be stored.
        credentials: request fields that say who asks. Unless a response says that it is for all it is
            neither stored nor used for a request that has one of them.
        shown: request fields that are not hidden from the application though they can change its answer
            without being part of the URL, as ``X-Forwarded-Host`` can.
        request_id: where the WSGI environment has the request's id, by which it can be explained
            later; "": nowhere, and nothing is remembered.
        surrogate_keys: leave ``Surrogate-Key`` in what clients get, say a CDN.
    Raises:
        ConfigurationError: a value makes no sense.
    """

    name: str = "cache-ext"
    heuristic: bool = True
    serve_stale: bool = True
    longest: float = 86_400.0
    validation_window: float = 300.0
    timeout: float | None = None
    make_etags: bool = True
    compress: bool = True
    max_body_bytes: int = 2**20
    max_variants: int = 64
    uncacheable_for: float = 2.0
    credentials: tuple[str, ...] = ("Authorization", "Cookie")
    shown: tuple[str, ...] = ()
    request_id: str = ""
    surrogate_keys: bool = False

    def __post_init__(self) -> None:
        if not _TOKEN.match(self.name):
            raise ConfigurationError(f"name is a token: {self.name!r}")
        for name in _SECONDS:
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= MAX_TTL:
                raise ConfigurationError(f"{name} is a number of seconds, 0 to {MAX_TTL}: {value!r}")
        if self.longest <= 0 or self.max_body_bytes < 0 or self.max_variants < 1:
            raise ConfigurationError("longest and max_variants are above 0, max_body_bytes is not below")
        if self.timeout is not None and not 0 < self.timeout <= MAX_TTL:
            raise ConfigurationError(f"timeout is a number of seconds above 0: {self.timeout!r}")
        for header in (*self.credentials, *self.shown):
            if not _TOKEN.match(header):
                raise ConfigurationError(f"not the name of a field: {header!r}")
