"""`cached`: views whose responses are kept, where HTTP lets one client get what another one asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache, update_wrapper
from types import MethodType
from typing import Any, Generic, ParamSpec

from flask import Response, current_app, request
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from cache_ext.coherence.receipts import Receipt
from cache_ext.engine import TieredCache
from cache_ext.errors import ConfigurationError, UnsupportedValue
from cache_ext.keys import check_tags
from cache_ext.loading.loaded import Loaded
from cache_ext.policy import CachePolicy, policy_for
from cache_ext.reading.fetched import Outcome
from cache_ext.web.arguments import Arguments, describe
from cache_ext.web.decorators import refuse_async
from cache_ext.web.labels import Labels, Tags
from cache_ext.web.naming import LONGEST_KEY_BYTES, fingerprint, safe_name
from cache_ext.web.responses import is_streamed
from cache_ext.web.state import cache_of

P = ParamSpec("P")
_ANY_TTL = 1.0
_PRIVATE = ("private", "no-store", "no-cache")
_SERVER_ERROR = 500


class _Failed(Exception):
    """The view answered with a server's error, and its policy prefers an older response."""


class CachedView(Generic[P]):
    """A view whose responses are kept; what `cached` makes."""

    def __init__(
        self,
        view: Callable[P, Any],
        ttl: float | timedelta | None,
        policy: CachePolicy | None,
        tags: Tags,
        key: Callable[..., Any] | None,
        vary: Sequence[str],
        unless: Callable[[], bool] | None,
    ) -> None:
        refuse_async(view)
        check_tags(vary)
        if policy_for(ttl, policy, _ANY_TTL).stale_while_revalidate:
            raise ConfigurationError(
                "a view needs its request, so nothing can revalidate it in the background"
            )
        self.uncached: Callable[P, Any] = view
        """The view itself."""
        self.name = f"{view.__module__}.{view.__qualname__}"
        self._ttl, self._policy, self._key, self._unless = ttl, policy, key, unless
        self._vary = tuple(sorted({name.lower() for name in vary}))
        self._tag = safe_name(f"view:{self.name}")
        self._arguments = Arguments(view)
        self._labels = Labels(tags, self._tag, self._arguments.names)
        update_wrapper(self, view)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        """Answer the current request, with a kept response if there is one that it may be answered with."""
        if not self._may_answer():
            return self._ask(args, kwargs)
        cache = cache_of(current_app)
        policy = _without_background(policy_for(self._ttl, self._policy, cache.settings.default_ttl))
        key = self._key_of(args, kwargs, policy.sensitive)
        if request.method == "HEAD":
            kept = cache.get(key, sensitive=policy.sensitive)
            return _harmless(kept) if isinstance(kept, Response) else self._ask(args, kwargs)
        return self._get(cache, key, policy, args, kwargs)

    def invalidate_all(self) -> Receipt:
        """Forget all responses of this view, and what was made of them."""
        return cache_of(current_app).invalidate_tags(self._tag)

    def _may_answer(self) -> bool:
        """Tell whether this request may be answered with what another one was."""
        if request.method not in ("GET", "HEAD") or request.content_length:
            return False
        if "Authorization" in request.headers and "authorization" not in self._vary:
            return False
        return self._may_ignore_session() and not (self._unless is not None and self._unless())

    def _may_ignore_session(self) -> bool:
        return "cookie" in self._vary or not _session_was_used()

    def _key_of(self, args: tuple[Any, ...], kwargs: dict[str, Any], sensitive: bool) -> str:
        """Return the key: the URL as the application sees it, or *key*'s result, and the *vary* headers."""
        if self._key is not None:
            which = describe(self._key(*args, **kwargs))
        else:
            query = sorted(request.args.items(multi=True), key=lambda pair: pair[0])
            place = f"{request.scheme}://{request.host}{request.root_path}{request.path}"
            which = describe((place, query))
        if self._vary:
            said = [" ".join(request.headers.get(name, "\0").split()) for name in self._vary]
            which += "#" + fingerprint(describe(said))  # hashed: there may be a cookie among them
        if sensitive:
            which = "~" + fingerprint(which)
        return safe_name(f"view:{self.name}:{request.endpoint}:{which}", LONGEST_KEY_BYTES)

    def _get(
        self, cache: TieredCache, key: str, policy: CachePolicy, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ResponseReturnValue:
        """Answer with the response under *key*, asking the view if there is none.

        What may not be stored may not be shared with those either who waited for it: they ask themselves.
        """
        mine: list[Response | HTTPException] = []

        def load() -> Any:
            try:
                mine.append(current_app.make_response(self._ask(args, kwargs)))
            except HTTPException as error:
                mine.append(error)
            if policy.stale_if_error and _is_server_error(mine[0]):
                raise _Failed
            answer = mine[0]
            return answer if isinstance(answer, Response) and self._may_store(answer) else Loaded(None, 0)

        try:
            tags = self._labels.of(self._arguments.bind(args, kwargs), args, kwargs)
            fetched = cache.fetch(key, lambda: _plain(load()), policy=policy, tags=tags)
        except (_Failed, UnsupportedValue):  # the latter: HTTP does not allow what the view answered
            fetched = None
        if fetched is not None and isinstance(fetched.value, Response):
            response = _harmless(fetched.value)
            if fetched.outcome is Outcome.STALE:
                response.headers.add("Cache-Status", f"cache-ext; hit; ttl={int(fetched.ttl_left)}")
            return response
        if not mine:
            return self._ask(args, kwargs)
        if isinstance(mine[0], HTTPException):
            raise mine[0]
        return mine[0]

    def _may_store(self, response: Response) -> bool:
        return (
            response.status_code == 200
            and not is_streamed(response)
            and "Set-Cookie" not in response.headers
            and not any(directive in response.cache_control for directive in _PRIVATE)
            and {name.lower() for name in response.vary} <= set(self._vary)
            and self._may_ignore_session()
        )

    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ResponseReturnValue:
        answer: ResponseReturnValue = self.uncached(*args, **kwargs)
        return answer


def cached(
    ttl: float | timedelta | None = None,
    *,
    policy: CachePolicy | None = None,
    tags: Tags = (),
    key: Callable[..., Any] | None = None,
    vary: Sequence[str] = (),
    unless: Callable[[], bool] | None = None,
) -> Callable[[Callable[P, Any]], CachedView[P]]:
    """Return a decorator, to be written below the route's, that keeps a view's responses.

    Only GET fills the cache, and HEAD is answered from it. Not stored: any status but 200, what is streamed,
    sets a cookie, is ``private``, ``no-store`` or ``no-cache``, or varies by a header that *vary* lacks.
    Requests with ``Authorization``, or whose session was touched, go past it unless *vary* names that
    header or ``Cookie``.

    Args:
        ttl: seconds or timedelta; the cache's default if neither it nor *policy* is given.
        policy: without stale_while_revalidate; early refresh is off too, as a view needs its request.
        tags: as those of `memoize`, made from the view's arguments.
        key: a function of the view's arguments that tells responses apart, instead of the URL.
        vary: request headers on which the response depends.
        unless: True lets a request go past the cache.
    Raises:
        ConfigurationError: the arguments contradict each other.
        TypeError: the view is async.
    """

    def decorate(view: Callable[P, Any]) -> CachedView[P]:
        return CachedView(view, ttl, policy, tags, key, vary, unless)

    return decorate


@lru_cache(maxsize=256)
def _without_background(policy: CachePolicy) -> CachePolicy:
    return replace(policy, early_refresh=False)


def _session_was_used() -> bool:
    """Tell whether the session was read or changed; looked up past the property, which marks it as read."""
    context = vars(request_ctx._get_current_object())  # type: ignore[attr-defined]
    opened = context.get("_session", context.get("session"))  # Flask from 3.1.3 on, and before
    return opened is not None and (opened.accessed or opened.modified)


def _is_server_error(answer: Response | HTTPException) -> bool:
    status = answer.status_code if isinstance(answer, Response) else answer.get_response().status_code
    return status >= _SERVER_ERROR


def _plain(answer: Any) -> Any:
    """Return a response as one of Flask's own class, which is what can be kept."""
    if not isinstance(answer, Response) or type(answer) is Response:
        return answer
    made = Response(answer.get_data(), status=answer.status)
    made.headers = answer.headers.copy()
    return made


def _harmless(kept: Response) -> Response:
    """Return what was kept without any cookie: none is stored, so it came from a foreign hand."""
    kept.headers.remove("Set-Cookie")
    return kept
