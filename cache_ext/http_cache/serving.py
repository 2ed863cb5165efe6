"""Serving what is stored: with its age, and with where it comes from (RFC 9211)."""

from __future__ import annotations

from collections.abc import Iterable

from cache_ext.http_cache.answering import age_of, answer_stored
from cache_ext.http_cache.asking import Run
from cache_ext.http_cache.lookup import Lookup
from cache_ext.http_cache.recording import Environ, StartResponse
from cache_ext.http_cache.stored import StoredResponse
from cache_ext.loading.origin import UNTRUSTED
from cache_ext.reading.slot import Slot

_X_CACHE = frozenset({"HIT", "MISS", "STALE", "BYPASS"})
_HIT = ("X-Cache", "HIT")
_STALE = ("X-Cache", "STALE")


class Server:
    """Answers with stored responses.

    Args:
        lookup: whose clock their lifetimes go by.
        name: of this cache in ``Cache-Status``.
    """

    def __init__(self, lookup: Lookup, name: str) -> None:
        self._lookup = lookup
        self._name = name

    def age(self, slot: Slot, stored: StoredResponse, now: float) -> float:
        """Return how old *stored* is, seconds (RFC 9111, section 4.2.3)."""
        return now - slot.loaded + stored.parts.excess

    def hit(
        self, environ: Environ, start_response: StartResponse, slot: Slot, stored: StoredResponse, now: float
    ) -> Iterable[bytes]:
        """Answer with *stored*, which is fresh *now*."""
        status = f"{self._name}; hit; ttl={int(slot.fresh_until - now)}"
        moment = [("Age", age_of(self.age(slot, stored, now))), _HIT, ("Cache-Status", status)]
        return answer_stored(environ, start_response, stored, moment)

    def stale(
        self, environ: Environ, start_response: StartResponse, slot: Slot, stored: StoredResponse, why: str
    ) -> Iterable[bytes]:
        """Answer with *stored*, which is not; *why*: of ``Cache-Status``, "" if nobody was asked."""
        now = self._lookup.now()
        status = f"{self._name}; hit; ttl={int(slot.fresh_until - now)}{why}"
        moment = [("Age", age_of(self.age(slot, stored, now))), _STALE, ("Cache-Status", status)]
        return answer_stored(environ, start_response, stored, moment)

    def loaded(
        self,
        environ: Environ,
        start_response: StartResponse,
        slot: Slot,
        stored: StoredResponse,
        run: Run,
        why: str,
    ) -> Iterable[bytes]:
        """Answer with *stored*, for which the application was just asked, by *run* or by somebody else's."""
        now = self._lookup.now()
        asked = f"fwd-status={run.status}" if run.status else "collapsed"
        kept = f"; stored; ttl={int(slot.fresh_until - now)}" if slot.generation != UNTRUSTED else ""
        told = run.x_cache if run.x_cache in _X_CACHE else "MISS"
        moment = [
            *run.own,
            ("Age", age_of(self.age(slot, stored, now))),
            ("X-Cache", told),
            ("Cache-Status", f"{self._name}; {why}; {asked}{kept}"),
        ]
        return answer_stored(environ, start_response, stored, moment)
