"""The gate, which every request passes first: who is it, and may he ask as often.

What it finds is in the WSGI environment, where no header can put anything. The limit is checked on every
path of the API, once, whatever answers it behind: a view, a cache, an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from cache_ext.limits.decision import Decision
from cache_ext.limits.limiter import Limiter
from cache_ext.metrics import Tallied
from cache_ext.tally import Tally
from cache_ext.transport.budget import budget
from shivx.addresses import address_subject
from shivx.errors import ShivxError, TooManyRequests
from shivx.identity import CALLER, Caller, Tier

LIMIT = "shivx.limit"
"""Where the WSGI environment has the `Decision`: the request has been counted."""
API = "/api"
OPEN_PATHS = frozenset({"/metrics", "/healthz", "/readyz", "/openapi.json", "/docs"})
"""Of operators and their machines: nobody is identified there, and nothing limited."""

USED_UP = "The limit for your tier is used up. Retry-After says how many seconds to wait."

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Headers = list[tuple[str, str]]

requests = Tallied(
    "rate_limit_requests",
    "Requests to the API by tier and outcome (allowed, refused; allowed_alone and refused_alone: decided "
    "without Redis).",
    ("tier", "outcome"),
)


_OUTCOMES = {
    (True, False): "allowed",
    (False, False): "refused",
    (True, True): "allowed_alone",
    (False, True): "refused_alone",
}


class Gate:
    """A WSGI application around *app*.

    Args:
        app: what is behind it.
        identify: returns who makes the request of an environment; raises Refused for bad credentials.
        limiter: counts.
        limits: requests in any trailing 60 s, by tier.
        answer: returns the answer to an error.
        seconds: that a request may spend on Redis in all.
        cost_of: returns what a request costs.
    """

    def __init__(
        self,
        app: Application,
        *,
        identify: Callable[[Environ], Caller],
        limiter: Limiter,
        limits: Mapping[Tier, int],
        answer: Callable[[Exception], Application],
        seconds: float,
        cost_of: Callable[[Environ], int] = lambda environ: 1,
    ) -> None:
        self._app = app
        self._identify = identify
        self._limiter = limiter
        self._limits = dict(limits)
        self._answer = answer
        self._seconds = seconds
        self._cost_of = cost_of
        self._tally = Tally(requests)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        with budget(self._seconds):
            return self._pass(environ, start_response)

    def figures(self, environ: Environ) -> Headers:
        """Return what an answer that costs nothing, whoever it is for, tells of its address' limit."""
        caller = anonymous(environ)
        with budget(self._seconds):
            decision = self._limiter.check(caller.subject, self._limits[caller.tier], 0)
        return limit_headers(caller.tier, decision)

    def _pass(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = "/" + str(environ.get("PATH_INFO", "")).lstrip("/")  # as the router reads it
        refusal = None
        try:
            caller = anonymous(environ) if path in OPEN_PATHS else self._identify(environ)
        except ShivxError as error:
            caller, refusal = anonymous(environ), error
        environ[CALLER] = caller
        if path == API or path.startswith(f"{API}/"):
            decision = self._limiter.check(caller.subject, self._limits[caller.tier], self._cost_of(environ))
            self._tally.count(caller.tier, _OUTCOMES[decision.allowed, decision.alone])
            environ[LIMIT] = decision
            start_response = _telling(start_response, caller.tier, decision)
            if not decision.allowed:
                refusal = TooManyRequests(USED_UP)
        app = self._app if refusal is None else self._answer(refusal)
        return app(environ, start_response)


def anonymous(environ: Mapping[str, Any]) -> Caller:
    """Return the caller whom nothing but his address identifies."""
    return Caller(Tier.ANONYMOUS, address_subject(environ.get("REMOTE_ADDR") or ""))


def limit_headers(tier: Tier, decision: Decision) -> Headers:
    """Return what an answer tells of the limit.

    Source: draft-ietf-httpapi-ratelimit-headers-09 for the last two.
    """
    _, limit, remaining, reset, retry_after, renews, window, _ = decision
    limited, policy = _policy_headers(tier, limit, window)
    headers = [
        limited,
        ("X-RateLimit-Remaining", str(remaining)),
        ("X-RateLimit-Reset", str(reset)),
        policy,
        ("RateLimit", f'"{tier}";r={remaining};t={renews}'),
    ]
    if retry_after:
        headers.append(("Retry-After", str(retry_after)))
    return headers


@cache
def _policy_headers(tier: Tier, limit: int, window: float) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return what answers tell of a limit whatever is left of it."""
    return ("X-RateLimit-Limit", str(limit)), ("RateLimit-Policy", f'"{tier}";q={limit};w={window:.0f}')


_OURS = frozenset(
    {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit"}
)
"""As Flask-Limiter writes them too."""


def _telling(start_response: StartResponse, tier: Tier, decision: Decision) -> StartResponse:
    """Return *start_response*, which adds the headers to whatever answer it begins."""

    def tell(status: str, headers: Headers, *rest: Any) -> Any:
        kept = [field for field in headers if field[0] not in _OURS]
        kept += limit_headers(tier, decision)
        return start_response(status, kept, *rest)

    return tell
