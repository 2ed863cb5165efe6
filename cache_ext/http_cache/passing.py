"""Letting through what is not stored, marked as such; what unsafe methods change counts no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cache_ext.http_cache.conditional import is_current
from cache_ext.http_cache.fields import Headers, http_date, values_of
from cache_ext.http_cache.freshness import date_of
from cache_ext.http_cache.recording import Answer, Application, Environ, StartResponse

Fields = list[tuple[str, str]]

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110, section 9.2.1; of others it must be assumed that they change something."""
_HIDDEN = frozenset({"surrogate-key"})
_BODY = ("content-type", "content-length", "content-encoding", "content-language", "content-range")


class Passage:
    """Marks answers that did not come from the store.

    Args:
        name: of this cache in ``Cache-Status``.
        hides: whether ``Surrogate-Key`` stays here.
    """

    def __init__(self, name: str, *, hides: bool) -> None:
        self._name = name
        self._hides = hides

    def through(
        self, app: Application, environ: Environ, start_response: StartResponse, x_cache: str, why: str
    ) -> Iterable[bytes]:
        """Let *app* answer.

        Args:
            x_cache: what X-Cache says if *app* does not say it.
            why: of ``Cache-Status``, ``fwd=bypass`` say.
        """

        def start(status: str, headers: Headers, *exc_info: Any) -> Any:
            return start_response(status, self.marked(headers, x_cache, why), *exc_info)

        return app(environ, start)

    def unsafe(
        self,
        app: Application,
        environ: Environ,
        start_response: StartResponse,
        invalidate: Callable[[Headers], None],
    ) -> Iterable[bytes]:
        """Let *app* answer an unsafe method; unless it fails, call *invalidate* before the client knows.

        Source: RFC 9111, section 4.4.
        """
        answer = Answer(app, environ)
        if 200 <= answer.code < 400:
            try:
                invalidate(answer.headers)
            except BaseException:
                answer.close()
                raise
        start_response(answer.status, self.marked(answer.headers, "BYPASS", "fwd=method"))
        return answer.closing_body()

    def answer(
        self, answer: Answer, environ: Environ, start_response: StartResponse, why: str
    ) -> Iterable[bytes]:
        """Pass on *answer*, which was asked for without the client's own conditions and method."""
        marked = self.marked(answer.headers, "MISS", why)
        if answer.code == 200 and _is_known(environ, answer.headers):
            answer.close()
            start_response("304 Not Modified", [field for field in marked if field[0].lower() not in _BODY])
            return []
        start_response(answer.status, marked)
        if environ["REQUEST_METHOD"] == "HEAD":
            answer.close()
            return []
        return answer.closing_body()

    def marked(self, headers: Headers, x_cache: str, why: str) -> Fields:
        """Return *headers* with what tells that they did not come from the store."""
        names = {name.lower() for name, _ in headers}
        kept = [field for field in headers if not (self._hides and field[0].lower() in _HIDDEN)]
        if "x-cache" not in names:
            kept.append(("X-Cache", x_cache))
        kept.append(("Cache-Status", f"{self._name}; {why}"))
        return kept


def _is_known(environ: Environ, headers: Headers) -> bool:
    etags, dates = values_of(headers, "etag"), values_of(headers, "last-modified")
    if not etags and not dates:
        return False
    changed = http_date(dates[0]) if dates else None
    modified = date_of(headers, float("inf")) if changed is None else changed
    return is_current(environ, etags[0] if etags else "", modified)
