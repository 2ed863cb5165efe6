"""``/api/auth``: logging in and out, who one is, and the sessions that one has."""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import Annotated

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from msgspec import Meta, Struct

from blueprints.asked import boolean
from blueprints.audited import own_change, record
from blueprints.bodies import read_json
from blueprints.errors import CHALLENGE, problem_response
from blueprints.parameters import Query
from blueprints.problems import document
from cache_ext.sessions.cross_site import is_cross_site
from cache_ext.sessions.sessions import SessionInfo
from shivx.accounts.login import LoginRefused
from shivx.addresses import address_subject
from shivx.audit.events import Outcome
from shivx.errors import Forbidden, NotFound, Refused
from shivx.identity import Caller, Via, caller_of
from shivx.times import format_time
from shivx.wiring import Services, services_of

auth = Blueprint("auth", __name__, url_prefix="/api/auth")

MAX_TEXT = 1024
"""Characters of a name or password, before it is looked at."""
SHOWN_CHARACTERS = 8
"""Of a session's name in the audit: enough to know it by."""
_SESSION = re.compile(r"[0-9a-f]{40}", re.ASCII)
_CROSS_SITE = "This was sent by another site, and a session's cookie is no permission for that."
_NO_FIT = "Name or password is wrong."
_TOO_OFTEN = "Too many attempts to log in. Retry-After says how many seconds to wait."


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody logs in with."""

    username: Annotated[str, Meta(max_length=MAX_TEXT)]
    password: Annotated[str, Meta(max_length=MAX_TEXT)]


ALL = boolean("all", "End this session as well.")


def guard_sessions(app: Flask) -> None:
    """Refuse, on all routes of *app*, what another site makes a browser send in its user's name."""
    app.before_request(_refuse_cross_site)


def _refuse_cross_site() -> None:
    if is_cross_site(request.environ) and caller_of(request.environ).via is Via.SESSION:
        raise Forbidden(_CROSS_SITE)


@auth.after_request
def _keep_out_of_caches(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


@auth.post("/login")
def login() -> Response:
    """Begin a session, under an id that nobody had before, for who shows name and password."""
    Query(request.environ).finish()
    if is_cross_site(request.environ):  # else another site could log its visitors in as somebody else
        raise Forbidden(_CROSS_SITE)
    given = read_json(request, Credentials)
    services = _services()
    services.sessions.require()
    address = address_subject(request.environ.get("REMOTE_ADDR") or "")
    found = services.access.login.verify(given.username, given.password, address)
    if isinstance(found, LoginRefused):
        return _refusal(found)
    services.sessions.sign_in(found.id, found.epoch)
    entered = Caller(found.tier, f"account:{found.id}", Via.SESSION, found.id, found.name)
    record("auth.login", Outcome.NOTED, caller=entered)
    return jsonify(account=found.id, username=found.name, tier=found.tier)


@auth.post("/logout")
def logout() -> tuple[str, int]:
    """End the session, if there is one."""
    Query(request.environ).finish()
    _services().sessions.sign_out()
    if caller_of(request.environ).via is Via.SESSION:
        record("auth.logout", Outcome.NOTED)
    return "", HTTPStatus.NO_CONTENT


@auth.get("/me")
def me() -> Response:
    """Say who asks."""
    Query(request.environ).finish()
    caller = caller_of(request.environ)
    if caller.account is None:
        raise Refused("nobody is logged in")
    return jsonify(
        account=caller.account,
        username=caller.name,
        tier=caller.tier,
        scopes=sorted(caller.scopes),
        via=caller.via,
    )


@auth.get("/sessions")
def list_sessions() -> Response:
    """Return the sessions of who asks, oldest first."""
    Query(request.environ).finish()
    account, mine = _owner()
    return jsonify(sessions=[_shown(each, mine) for each in _services().sessions.list(account)], next=None)


@auth.delete("/sessions")
def revoke_others() -> tuple[str, int]:
    """End the other sessions of who asks, or with ``all=true`` this one as well, and every copy of them."""
    with Query(request.environ) as query:
        everything = ALL.read(query)
    account, _ = _owner()
    services = _services()
    with own_change("sessions.revoke_all", "this one as well" if everything else "all others"):
        epoch = services.access.accounts.bump_epoch(account).epoch
        if everything:
            services.sessions.revoke_all(account)
            services.sessions.sign_out()
        else:
            services.sessions.revoke_all(account, but=services.sessions.sign_in(account, epoch))
    return "", HTTPStatus.NO_CONTENT


@auth.delete("/sessions/<session>")
def revoke_session(session: str) -> tuple[str, int]:
    """End one session of who asks, this one too, and every copy of it: the others go on in another epoch."""
    Query(request.environ).finish()
    account, mine = _owner()
    if not _SESSION.fullmatch(session):
        raise NotFound("there is no such session")
    services = _services()
    with own_change("sessions.revoke", f"session {session[:SHOWN_CHARACTERS]}…"):
        if all(each.id != session for each in services.sessions.list(account)):
            raise NotFound("there is no such session")
        before, epoch = services.access.accounts.next_epoch(account)
        if session == mine:
            services.sessions.sign_out()
        else:
            services.sessions.revoke(account, session)
        services.sessions.carry_over(account, before, epoch)
    return "", HTTPStatus.NO_CONTENT


def _services() -> Services:
    return services_of(current_app)


def _owner() -> tuple[int, str]:
    """Return the account of who is logged in, and the name of his session.

    Raises:
        Refused: nobody is.
        Forbidden: he came with a key: sessions are the business of people.
    """
    caller = caller_of(request.environ)
    if caller.via is Via.KEY:
        raise Forbidden("this needs a session, not a key")
    facts = _services().sessions.reader.read(request.environ)
    if caller.via is not Via.SESSION or facts is None:
        raise Refused("this needs a session")
    return facts.account, facts.name


def _refusal(refused: LoginRefused) -> Response:
    if refused.retry_after is None:
        return problem_response(document("unauthenticated", _NO_FIT), {"WWW-Authenticate": CHALLENGE})
    seconds = max(1, math.ceil(refused.retry_after))
    return problem_response(document("rate_limited", _TOO_OFTEN), {"Retry-After": str(seconds)})


def _shown(each: SessionInfo, mine: str) -> dict[str, object]:
    return {
        "id": each.id,
        "device": each.device,
        "address": each.address,
        "created_at": _moment(each.created),
        "last_seen_at": _moment(each.seen),
        "expires_at": _moment(each.ends),
        "current": each.id == mine,
    }


def _moment(seconds: float) -> str:
    return format_time(int(seconds * 1000))
