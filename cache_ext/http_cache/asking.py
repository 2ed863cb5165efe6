"""Asking the application for a response that may be stored: as a loader of the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cache_ext.http_cache.codings import IDENTITY
from cache_ext.http_cache.fields import Directives, Headers, joined
from cache_ext.http_cache.making import Draft, Made, freshened, make
from cache_ext.http_cache.options import Options
from cache_ext.http_cache.recording import Answer, Application, Environ, environ_to_store
from cache_ext.http_cache.stored import StoredResponse
from cache_ext.http_cache.storing import OK, Verdict, judge, withheld
from cache_ext.http_cache.variants import choice_of, environ_name, vary_names
from cache_ext.loading.loaded import Loaded
from cache_ext.reading.frames import current_frame

_LEAST_TTL = 0.001
"""Seconds; of what must be validated before each use."""
_NOT_STORED = Loaded(None, 0.0)
_FOR_ASKER = frozenset({"cache-status", "set-cookie", "x-request-id"})
"""Fields that whoever caused the run gets, and nobody else."""


class ApplicationFailed(Exception):
    """The application answered with a server's error, and there is something stale that may serve instead."""


@dataclass(slots=True)
class Run:
    """What came of one run of the application, for whoever caused it.

    Args:
        answer: if it is not stored; to be passed on, and closed.
        error: that it raised; `answer`, if there is one as well, is of no use.
        verdict: why nothing is stored.
        status: it answered with, 0 if it did not.
        own: fields that belong to this answer alone.
        x_cache: what it says itself of where its facts come from.
    """

    answer: Answer | None = None
    error: Exception | None = None
    verdict: Verdict = OK
    status: int = 0
    own: list[tuple[str, str]] = field(default_factory=list)
    x_cache: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _left: bool = False

    def leave(self) -> None:
        """Want nothing more of it: what comes is closed."""
        with self._lock:
            self._left = True
        self.settle()

    def settle(self) -> None:
        """Close the answer if nobody wants it."""
        with self._lock:
            unwanted, wanted = (self.answer, None) if self._left else (None, self.answer)
            self.answer = wanted
        if unwanted is not None:
            unwanted.close()


class Asker:
    """Makes loaders that run the application.

    Args:
        time, monotonic: the clocks; seconds.
        admits: told the request, the fields of its answer and for how many seconds that lies, 0 until that is
            known; whether there is room for it among those that Vary selects.
    """

    def __init__(
        self,
        app: Application,
        options: Options,
        time: Callable[[], float],
        monotonic: Callable[[], float],
        admits: Callable[[Environ, Headers, float], bool],
    ) -> None:
        self._app = app
        self._options = options
        self._time = time
        self._monotonic = monotonic
        self._admits = admits
        self.credentials = frozenset(name.lower() for name in options.credentials)
        """Lower-case names of the request fields that say who asks."""
        self._shown = frozenset(map(environ_name, (name.lower() for name in options.shown)))

    def loader(
        self, environ: Environ, previous: StoredResponse | None, run: Run, *, spares: bool
    ) -> Callable[[], Loaded]:
        """Return a loader.

        Args:
            previous: what is to be replaced or, if the application says so, freshened.
            spares: whether failures are to be raised, as *previous* may serve instead.
        """

        def load() -> Loaded:
            try:
                return self._load(environ, previous, run, spares=spares)
            except ApplicationFailed:
                raise
            except Exception as error:  # whatever an application raises is for who caused the run
                run.error = error
                if spares:
                    raise ApplicationFailed from error
                raise
            finally:
                run.settle()

        return load

    def _load(self, environ: Environ, previous: StoredResponse | None, run: Run, *, spares: bool) -> Loaded:
        plain = environ_to_store(environ, self._shown)
        loaded = None
        if previous is not None and (conditions := _conditions(previous)):
            loaded = self._attempt({**plain, **conditions}, previous, run, replaced=previous, spares=spares)
        if loaded is None and run.answer is None:  # not yet asked, or what a 304 spoke of is of no use
            loaded = self._attempt(plain, None, run, replaced=previous, spares=spares)
        return loaded or _NOT_STORED

    def _attempt(
        self,
        environ: Environ,
        previous: StoredResponse | None,
        run: Run,
        *,
        replaced: StoredResponse | None,
        spares: bool,
    ) -> Loaded | None:
        """Run the application; return what to store, None if there is nothing.

        Args:
            previous: what *environ* asks the application to confirm.
            replaced: what is stored now.
        """
        asked, began = self._time(), self._monotonic()
        answer = run.answer = Answer(self._app, environ)
        run.status = answer.code
        if spares and answer.code >= 500:
            raise ApplicationFailed(answer.status)
        status, headers, kept = answer.status, answer.headers, None
        if answer.code == 304 and previous is not None:
            status, kept = previous.parts.status, previous.parts.bodies[IDENTITY]
            headers = freshened(previous.parts, answer.headers) or []
        run.verdict = self._judge(environ, int(status[:3]), headers)
        if answer.code >= 500 and replaced is not None:  # a failure takes the place of nothing
            run.verdict = Verdict("status", for_others=True)
        body = kept
        if kept is None and not run.verdict.refusal:
            body = answer.read(self._options.max_body_bytes)
            run.verdict = Verdict("body", for_others=True) if body is None else run.verdict
        made = None
        if body is not None and headers and not run.verdict.refusal:
            now = self._monotonic()
            oldest = min(began, frame.loaded) if (frame := current_frame()) is not None else began
            bodies = {} if replaced is None else replaced.parts.bodies
            draft = Draft(status, headers, body, asked, self._time(), now - oldest, bodies)
            made = make(draft, self._options, choice_of(environ, vary_names(headers)))
            run.verdict = run.verdict if made is not None else Verdict("stale")
        if made is not None:
            self._admits(environ, headers, made.fresh_for + made.stale_for)
            return self._stored(made, answer, run, now - began)
        if kept is not None:
            run.answer = None
            answer.close()
        return None

    def _judge(self, environ: Environ, status: int, headers: Headers) -> Verdict:
        shown = [name for name in self.credentials if environ_name(name) in environ]
        verdict = judge(status, headers, Directives(joined(headers, "cache-control")), credentials=shown)
        if not verdict.refusal and not self._admits(environ, headers, 0.0):
            return Verdict("variants", for_others=True)
        return verdict

    def _stored(self, made: Made, answer: Answer, run: Run, took: float) -> Loaded:
        directives = Directives(joined(answer.headers, "cache-control"))
        mine = _FOR_ASKER | withheld(directives)
        run.own = [(name, value) for name, value in answer.headers if name.lower() in mine]
        run.x_cache = joined(answer.headers, "x-cache")
        run.answer = None
        answer.close()
        validate = made.response.parts.validate
        ttl = _LEAST_TTL if validate else took + made.fresh_for
        return Loaded(
            made.response,
            ttl,
            early_refresh=not validate,
            tags=made.tags,
            stale_for=made.stale_for,
            early_as_parts=True,
        )


def _conditions(previous: StoredResponse) -> dict[str, Any]:
    """Return the conditions that ask the application whether *previous* still holds (RFC 9111, 4.3.1)."""
    parts, found = previous.parts, {}
    if parts.etag and not parts.own_etag:
        found["HTTP_IF_NONE_MATCH"] = parts.etag
    if parts.last_modified:
        found["HTTP_IF_MODIFIED_SINCE"] = parts.last_modified
    return found
