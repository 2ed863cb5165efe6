"""`HttpCache`: a shared HTTP cache around a WSGI application. Sources: RFC 9111, 9110, 5861, 9211."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from cache_ext.coherence.reasons import because
from cache_ext.engine import TieredCache
from cache_ext.explain.trails import Trail
from cache_ext.http_cache.asking import Asker
from cache_ext.http_cache.considering import Considerer
from cache_ext.http_cache.fields import Headers, values_of
from cache_ext.http_cache.keys import Places
from cache_ext.http_cache.lookup import Lookup, response_of
from cache_ext.http_cache.options import Options
from cache_ext.http_cache.passing import SAFE, Passage
from cache_ext.http_cache.recording import Application, Environ, StartResponse
from cache_ext.http_cache.selecting import Selector, is_chosen
from cache_ext.http_cache.serving import Server
from cache_ext.http_cache.stored import StoredResponse
from cache_ext.http_cache.variants import environ_name

_GETS = frozenset({"GET", "HEAD"})
_NO_BODY = frozenset({"", "0"})
_LEADING = ("location", "content-location")


def _covers_all(environ: Environ) -> bool:
    return True


def _timeout(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Say that nothing is stored, to who asked for nothing else."""
    start_response("504 Gateway Timeout", [("Content-Type", "text/plain"), ("Cache-Control", "no-store")])
    return [b"Nothing is stored for this request, and it says only-if-cached.\n"]


class HttpCache:
    """A shared HTTP cache around a WSGI application.

    Args:
        app: what answers if nothing stored does.
        cache: where responses lie, under the tags that they name in ``Surrogate-Key`` and those of whatever
            the application read from *cache* to make them.
        covers: told the WSGI environment, says whether the request goes through this cache at all.
        gives_up: answers a request with ``only-if-cached`` for which nothing is stored.
        options: see `Options`.
        time: the clock that dates go by, Unix seconds.
    """

    def __init__(
        self,
        app: Application,
        cache: TieredCache,
        *,
        covers: Callable[[Environ], bool] = _covers_all,
        gives_up: Application = _timeout,
        options: Options | None = None,
        time: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._covers = covers
        self._cache = cache
        options = options or Options()
        self._lookup = lookup = Lookup(cache, options.longest, "http")
        self._places = Places()
        self._selector = selector = Selector(lookup, options.max_variants)
        self._passage = passage = Passage(options.name, hides=not options.surrogate_keys)
        self._server = server = Server(lookup, options.name)
        asker = Asker(app, options, time, lookup.now, self._admits)
        self._considerer = Considerer(app, options, lookup, selector, asker, passage, server, gives_up)
        self._request_id = options.request_id
        self._credentials = tuple(environ_name(name.lower()) for name in options.credentials)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if not self._covers(environ) or not self._lookup.works:
            return self._app(environ, start_response)
        method = environ["REQUEST_METHOD"]
        if method not in _GETS:
            return self._other_method(method, environ, start_response)
        if _goes_past(environ):
            return self._passage.through(self._app, environ, start_response, "BYPASS", "fwd=bypass")
        place = self._places.of(environ)
        if "HTTP_CACHE_CONTROL" not in environ and "HTTP_PRAGMA" not in environ:
            slot = self._lookup.near(place.key)
            if (
                slot is not None
                and (stored := response_of(slot)) is not None
                and self._suits(stored, environ)
            ):
                now = self._lookup.count_hit(slot, environ.get(self._request_id))
                return self._server.hit(environ, start_response, slot, stored, now)
        if (id := environ.get(self._request_id)) is None:
            return self._considerer.consider(environ, start_response, place)
        trail = Trail(id, self._lookup.now(), method, place.key)
        self._lookup.remember(trail)
        with trail:
            start = trail.answering(start_response, self._lookup.now)
            return self._considerer.consider(environ, start, place)

    def _suits(self, stored: StoredResponse, environ: Environ) -> bool:
        """Tell whether *stored*, fresh, may answer a request that demands nothing."""
        parts = stored.parts
        if parts.validate or (parts.vary and not is_chosen(stored, environ)):
            return False
        if not parts.for_all:
            for name in self._credentials:
                if name in environ:
                    return False
        return True

    def _other_method(self, method: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if method in SAFE:
            return self._passage.through(self._app, environ, start_response, "BYPASS", "fwd=method")

        def invalidate(headers: Headers) -> None:
            places = [self._places.of(environ)]
            for name in _LEADING:
                places += [
                    place
                    for value in values_of(headers, name)
                    if (place := self._places.named(environ, value)) is not None
                ]
            with because(f"{method} of {places[0].key}"):
                self._cache.delete(*{place.key for place in places})
                self._cache.invalidate_tags(*{place.tag for place in places})

        return self._passage.unsafe(self._app, environ, start_response, invalidate)

    def _admits(self, environ: Environ, headers: Headers, seconds: float) -> bool:
        return self._selector.admits(self._places.of(environ).key, environ, headers, seconds)


def _goes_past(environ: Environ) -> bool:
    """Tell whether a GET is one that no stored response answers, and whose answer is not stored.

    It has a body, which may have decided what is answered, or a condition for the application alone.
    """
    if environ.get("CONTENT_LENGTH", "") not in _NO_BODY or "HTTP_TRANSFER_ENCODING" in environ:
        return True
    return "HTTP_IF_MATCH" in environ or "HTTP_IF_UNMODIFIED_SINCE" in environ
