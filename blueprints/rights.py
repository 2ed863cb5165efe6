"""Rights: what a view demands of who asks it, and the guard that lets nobody past a view without a demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

from flask import Flask, current_app, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from shivx.accounts.identities import address_subject
from shivx.identity import CALLER, Caller, Tier, Via

P = ParamSpec("P")
R = TypeVar("R")

ADMIN_PREFIX = "/api/admin/"
API_PREFIX = "/api/"
ENDPOINT = "shivx.endpoint"
"""Where the WSGI environment has the endpoint that was asked, once Flask knows it."""
_DEMAND = "_shivx_demand"
_REALM = WWWAuthenticate("bearer", {"realm": "ShivX"})


class Demand(NamedTuple):
    """What a view demands: one of *tiers*, and the *scope* if the caller's rights know scopes."""

    tiers: frozenset[Tier]
    scope: str | None


OPEN = Demand(frozenset(Tier), None)
"""Of a view that anybody may ask, even where nobody may by default."""


ADMINS = Demand(frozenset({Tier.ADMIN}), "admin")
"""What all that is for admins demands."""


def requires(*tiers: Tier, scope: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let only callers of *tiers* reach a view, and only with *scope*, which a key has if it was made so.

    Who does not say who he is gets 401, who may not gets 403; either is in the audit, as all denials are.
    """
    demand = Demand(frozenset(tiers), scope)

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def demanding(*args: P.args, **kwargs: P.kwargs) -> R:
            check(current_caller(), demand)
            return view(*args, **kwargs)

        setattr(demanding, _DEMAND, demand)
        return demanding

    return decorate


def open_to_all(view: Callable[P, R]) -> Callable[P, R]:
    """Let anybody reach *view*, which lies where by default nobody may."""
    setattr(view, _DEMAND, OPEN)
    return view


def demand_of(view: Callable[..., object] | None) -> Demand | None:
    """Return what *view* demands, None if it says nothing."""
    found: Demand | None = getattr(view, _DEMAND, None)
    return found


def current_caller() -> Caller:
    """Return who makes the request."""
    return caller_in(request.environ)


def caller_in(environ: Mapping[str, Any]) -> Caller:
    """Return who makes the request of *environ*; without a word of the gate, nobody but an address."""
    caller: Caller | None = environ.get(CALLER)
    return caller or Caller(Tier.ANONYMOUS, address_subject(environ.get("REMOTE_ADDR", "")))


def meets(caller: Caller, demand: Demand) -> bool:
    """Tell whether *caller* meets *demand*."""
    return caller.tier in demand.tiers and (demand.scope is None or demand.scope in caller.scopes)


def check(caller: Caller, demand: Demand) -> None:
    """Do nothing if *caller* meets *demand*.

    Raises:
        Unauthorized: he does not, and did not say who he is.
        Forbidden: he may not.
    """
    if meets(caller, demand):
        return
    if caller.via is Via.NOTHING:
        raise Unauthorized("This needs a valid API key or session.", www_authenticate=_REALM)
    if caller.tier in demand.tiers:
        raise Forbidden(f"This needs a key with the scope {demand.scope!r}.")
    raise Forbidden(f"This is not for the tier {caller.tier.value!r}.")


def guard(app: Flask) -> None:
    """Deny by default: an admin route that demands nothing, and all but what names its tier to a service."""
    app.before_request(_refuse_by_default)


def _refuse_by_default() -> None:
    if request.endpoint is None or request.url_rule is None:
        return  # there is no such route or method
    request.environ[ENDPOINT] = request.endpoint
    demand = demand_of(current_app.view_functions[request.endpoint])
    rule = request.url_rule.rule
    if demand is not None:
        if request.method == "OPTIONS":  # Flask answers it itself, past the view and its demand
            check(current_caller(), demand)
    elif rule.startswith(ADMIN_PREFIX):
        check(current_caller(), Demand(frozenset(), None))
    elif rule.startswith(API_PREFIX) and current_caller().tier is Tier.SERVICE:
        raise Forbidden("A service may post events, nothing else.")
