"""``/admin/login/once``: the link that `make run` prints. There is no such route where none is printed."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint, Response, current_app, jsonify, request
from msgspec import Meta, Struct

from blueprints.audited import audited_change
from blueprints.bodies import read_json
from blueprints.dashboard import LOGIN
from blueprints.entrance.pages import Entrance
from blueprints.parameters import Query
from cache_ext.sessions.cookies import is_direct_loopback
from cache_ext.sessions.cross_site import is_cross_site
from shivx.accounts.accounts import Accounts, UnknownAccount
from shivx.accounts.facts import Account
from shivx.errors import Conflict, Forbidden, Refused
from shivx.identity import Tier
from shivx.one_time_links import OneTimeLinks
from shivx.wiring import services_of

NAME = "local-admin"
"""Of the account that links open; it has no password."""


class OnceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What follows the # in the link, which browsers send to nobody by themselves."""

    token: Annotated[str, Meta(max_length=128)]


def one_time_entrance(entrance: Entrance, links: OneTimeLinks) -> Blueprint:
    """Return the blueprint of the page that the link leads to, and of what the page asks for."""
    blueprint = Blueprint("once", __name__)

    @blueprint.get(f"{LOGIN}/once")
    def show() -> Response:
        """Show the page, which sends the token: who merely looks at the link does not use it up."""
        return entrance.page("once")

    @blueprint.post("/api/auth/once")
    def enter() -> Response:
        """Begin an admin's session, under an id that nobody had before, for who shows a token."""
        Query(request.environ).finish()
        if is_cross_site(request.environ) or not is_direct_loopback(request.environ):
            raise Forbidden("This link is for browsers on the machine of the service.")
        token = read_json(request, OnceBody).token
        services = services_of(current_app)
        services.sessions.require()
        if not links.take(token):
            raise Refused("The link was used, is too old, or is of another service.")
        with audited_change("auth.login_once", f"account {NAME}"):
            account = _local_admin(services.access.accounts)
            services.sessions.sign_in(account.id, account.epoch)
        answer = jsonify(account=account.id, username=account.name, tier=account.tier)
        answer.cache_control.no_store = True
        return answer

    return blueprint


def _local_admin(accounts: Accounts) -> Account:
    """Return the account that links open; make it if there is none.

    Raises:
        Forbidden: somebody has disabled it, or made it something else.
    """
    try:
        account = accounts.named(NAME).account
    except UnknownAccount:
        try:
            return accounts.create(NAME, Tier.ADMIN)
        except Conflict:  # somebody was faster
            account = accounts.named(NAME).account
    if account.tier is not Tier.ADMIN or account.disabled:
        raise Forbidden(f"The account {NAME} is disabled, or is no admin.")
    return account
