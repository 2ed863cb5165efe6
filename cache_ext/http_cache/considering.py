"""The way of a request that no stored response answers at once: wait, load, refresh, spare, or pass."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cache_ext.coherence.reasons import because
from cache_ext.http_cache.asking import Asker, Run
from cache_ext.http_cache.keys import Place
from cache_ext.http_cache.lookup import Lookup, Tags, response_of
from cache_ext.http_cache.options import Options
from cache_ext.http_cache.passing import Passage
from cache_ext.http_cache.recording import Application, Environ, StartResponse, without_connection
from cache_ext.http_cache.request_rules import NO_DEMANDS, RequestRules, rules_of
from cache_ext.http_cache.resting import Rests
from cache_ext.http_cache.selecting import Selector, is_chosen
from cache_ext.http_cache.serving import Server
from cache_ext.http_cache.stored import StoredResponse
from cache_ext.http_cache.uncacheable import Uncacheable
from cache_ext.http_cache.variants import environ_name
from cache_ext.loading.loaded import Loaded
from cache_ext.reading.found import Found
from cache_ext.reading.slot import Slot

REPLACED = "a newer answer may not be stored"
"""Why a stored one ends, for who looks at what was invalidated."""
_WITH_CREDENTIALS = "#who"
"""Marks keys that are not worth waiting for if one says who asks."""
_ATTEMPTS = 3
"""Responses of other choices that a request may be handed before it asks for itself."""


class Sight(NamedTuple):
    """What a request finds.

    Args:
        key, tags: where what suits it lies, or is to lie.
        found: what the engine has there.
        stored: the response, if there is one that suits.
        mark: taken before.
        private: the request says who asks, and what is stored is not for such.
    """

    key: str
    tags: Tags
    found: Found
    stored: StoredResponse | None
    mark: int
    private: bool


class Considerer:
    """Answers requests that take more than a look into L1.

    Args:
        app: the application.
        gives_up: answers who wants nothing but stored responses when there is none: 504.
    """

    def __init__(
        self,
        app: Application,
        options: Options,
        lookup: Lookup,
        selector: Selector,
        asker: Asker,
        passage: Passage,
        server: Server,
        gives_up: Application,
    ) -> None:
        self._app = app
        self._options = options
        self._lookup = lookup
        self._selector = selector
        self._asker = asker
        self._passage = passage
        self._server = server
        self._gives_up = gives_up
        self._uncacheable = Uncacheable(options.uncacheable_for, lookup.now)
        self._rests = Rests()
        self._credentials = tuple(environ_name(name.lower()) for name in options.credentials)

    def consider(self, environ: Environ, start_response: StartResponse, place: Place) -> Iterable[bytes]:
        """Answer from what is stored if that will do; else ask the application."""
        control, pragma = environ.get("HTTP_CACHE_CONTROL"), environ.get("HTTP_PRAGMA")
        rules = rules_of(control, pragma) if control is not None or pragma is not None else NO_DEMANDS
        for _ in range(_ATTEMPTS):
            sight = self._see(environ, place)
            if (answer := self._from_store(environ, start_response, sight, rules)) is not None:
                return answer
            if rules.only_if_cached:
                return self._passage.through(
                    self._gives_up, environ, start_response, "MISS", "fwd=miss; fwd-status=504"
                )
            if rules.no_store or self._goes_alone(environ, sight):
                break
            if (answer := self._load(environ, start_response, sight, rules)) is not None:
                return answer
        return self._pass(environ, start_response, "fwd=bypass")

    def _see(self, environ: Environ, place: Place) -> Sight:
        mark = self._lookup.mark()
        key, tags, found = self._selector.select(environ, place)
        stored = response_of(found.slot)
        if stored is not None and not is_chosen(stored, environ):
            stored = None
        private = stored is not None and not stored.parts.for_all and self._tells_who(environ)
        return Sight(key, tags, found, stored, mark, private)

    def _goes_alone(self, environ: Environ, sight: Sight) -> bool:
        """Tell whether the request is not to wait for others, nor they for it.

        A range of what is not stored is for the application, which may know how to give it.
        """
        if sight.private or self._uncacheable.has(sight.key):
            return True
        if sight.stored is None and "HTTP_RANGE" in environ:
            return True
        return self._tells_who(environ) and self._uncacheable.has(sight.key + _WITH_CREDENTIALS)

    def _tells_who(self, environ: Environ) -> bool:
        return any(name in environ for name in self._credentials)

    def _from_store(
        self, environ: Environ, start_response: StartResponse, sight: Sight, rules: RequestRules
    ) -> Iterable[bytes] | None:
        """Answer with what was found, fresh or stale, if it may be used without asking."""
        stored, slot = sight.stored, sight.found.slot
        if stored is None or slot is None or stored.parts.validate or sight.private:
            return None
        now, parts = self._lookup.now(), stored.parts
        age, left = self._server.age(slot, stored, now), slot.fresh_until - now
        if sight.found.fresh_at(now) is not None:
            if not rules.takes_fresh(age, left):
                return None
            if now >= slot.early_at and self._rests.lets(sight.key, now, slot.fresh_until):
                self._refresh(environ, sight, stored, slot)
            self._lookup.use(slot, sight.found.layer, "hit")
            return self._server.hit(environ, start_response, slot, stored, now)
        if not sight.found.checked or rules.validate:
            return None
        demanding = age > rules.max_age or rules.min_fresh > 0
        if -left < parts.stale_while_revalidate and not demanding:
            self._refresh(environ, sight, stored, slot)
        elif parts.never_stale or not rules.takes_stale(age, -left):
            return None
        self._lookup.use(slot, sight.found.layer, "stale")
        return self._server.stale(environ, start_response, slot, stored, "")

    def _load(
        self, environ: Environ, start_response: StartResponse, sight: Sight, rules: RequestRules
    ) -> Iterable[bytes] | None:
        """Ask the application, or wait for whoever does; None: what came is not for this request."""
        run, spares = Run(), self._spares(sight, rules)
        load = self._loader(environ, sight, run, spares=spares)
        patience = self._options.timeout if spares else None
        outcome = self._lookup.load(sight.found, sight.key, sight.tags, load, patience)
        why = _why(sight, rules)
        if isinstance(outcome, Exception):
            if spares and (answer := self._spare(environ, start_response, sight, run, why)) is not None:
                return answer
            if run.error is not None:
                run.leave()
                raise run.error
        if run.answer is not None:
            self._lookup.miss()
            return self._passage.answer(
                run.answer, environ, start_response, f"{why}; fwd-status={run.status}"
            )
        stored = response_of(outcome)
        if stored is None or not isinstance(outcome, Slot):  # whoever was waited for got nothing to share
            run.leave()
            return self._pass(environ, start_response, why)
        if not run.status and (not is_chosen(stored, environ) or not self._may_share(stored, environ)):
            return None
        self._lookup.use(outcome, "origin", "miss")
        return self._server.loaded(environ, start_response, outcome, stored, run, why)

    def _may_share(self, stored: StoredResponse, environ: Environ) -> bool:
        return stored.parts.for_all or not self._tells_who(environ)

    def _spares(self, sight: Sight, rules: RequestRules) -> bool:
        """Tell whether what is stored, though stale, may serve if the application fails (RFC 5861)."""
        stored, slot = sight.stored, sight.found.slot
        if stored is None or slot is None or stored.parts.never_stale or not self._options.serve_stale:
            return False
        allowed = stored.parts.stale_if_error if rules.stale_if_error is None else rules.stale_if_error
        return self._lookup.now() - slot.fresh_until < min(allowed, self._options.longest)

    def _spare(
        self, environ: Environ, start_response: StartResponse, sight: Sight, run: Run, why: str
    ) -> Iterable[bytes] | None:
        """Answer with what is stored instead of a failure; None if it was invalidated meanwhile."""
        stored, slot = sight.stored, sight.found.slot
        if stored is None or slot is None or self._lookup.has_ended(slot, sight.mark):
            return None
        run.leave()
        self._lookup.use(slot, sight.found.layer, "stale")
        asked = f"; fwd-status={run.status}" if run.status else ""
        return self._server.stale(environ, start_response, slot, stored, f"; {why}{asked}")

    def _refresh(self, environ: Environ, sight: Sight, stored: StoredResponse, slot: Slot) -> None:
        """Have the application asked in the background; what comes is for later requests."""
        run = Run()
        run.leave()
        later = without_connection(environ, io.BytesIO())
        self._lookup.refresh(slot, sight.tags, self._loader(later, sight, run, spares=True))

    def _loader(self, environ: Environ, sight: Sight, run: Run, *, spares: bool) -> Callable[[], Loaded]:
        """Return the asker's loader, which also sees to what the answer means for others."""
        load = self._asker.loader(environ, sight.stored, run, spares=spares)

        def noting() -> Loaded:
            loaded = load()
            if run.verdict.refusal in self._asker.credentials:
                self._uncacheable.add(sight.key + _WITH_CREDENTIALS)
            if run.verdict.refusal and not run.verdict.for_others and run.status < 500:
                self._uncacheable.add(sight.key)
                if sight.found.slot is not None:
                    with because(REPLACED):
                        self._lookup.delete(sight.key)
            return loaded

        return noting

    def _pass(self, environ: Environ, start_response: StartResponse, why: str) -> Iterable[bytes]:
        self._lookup.miss()
        return self._passage.through(self._app, environ, start_response, "MISS", why)


def _why(sight: Sight, rules: RequestRules) -> str:
    """Return why the application was asked, as ``Cache-Status`` has it (RFC 9211, section 2.2)."""
    if sight.stored is None:
        return "fwd=vary-miss" if sight.tags else "fwd=uri-miss"
    return "fwd=request" if rules != NO_DEMANDS else "fwd=stale"
