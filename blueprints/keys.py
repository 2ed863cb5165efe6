"""``/api/auth/keys``: the caller's own API keys."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint, Response, current_app, jsonify, request
from msgspec import Meta, Struct

from blueprints.asked import cursor, integer
from blueprints.audited import own_change
from blueprints.bodies import read_json
from blueprints.parameters import Query
from shivx.accounts.api_keys import MAX_KEYS, ApiKey
from shivx.accounts.scopes import Scope
from shivx.cursors import encode_cursor
from shivx.errors import Forbidden, Refused
from shivx.identity import Caller, caller_of
from shivx.times import format_time, parse_time
from shivx.wiring import services_of

keys = Blueprint("keys", __name__, url_prefix="/api/auth/keys")

MAX_TEXT = 400
"""Characters of a name or time, before it is looked at."""
MAX_ID = 2**63 - 1


class KeyPosition(Struct, frozen=True, array_like=True, tag="keys"):
    """The last key of a page."""

    id: Annotated[int, Meta(ge=1, le=MAX_ID)]


class NewKeyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a key to be made shall be."""

    name: Annotated[str, Meta(max_length=MAX_TEXT)]
    scopes: Annotated[list[Annotated[str, Meta(max_length=MAX_TEXT)]], Meta(max_length=20)] | None = None
    expires_at: Annotated[str, Meta(max_length=MAX_TEXT)] | int | None = None


LIMIT = integer("limit", "Keys of a page.", default=MAX_KEYS, low=1, high=MAX_KEYS)
CURSOR = cursor(KeyPosition)


@keys.after_request
def _keep_out_of_caches(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


@keys.get("")
def list_keys() -> Response:
    """Return the caller's keys, without their text, oldest first."""
    with Query(request.environ) as query:
        limit = LIMIT.read(query)
        position = CURSOR.read(query)
    _, account = _owner()
    after = 0 if position is None else position.id
    found = services_of(current_app).access.keys.list(account, after, limit + 1)
    page = found[:limit]
    following = encode_cursor(KeyPosition(page[-1].id)) if len(found) > limit else None
    return jsonify(keys=[_shown(key) for key in page], next=following)


@keys.post("")
def create_key() -> tuple[Response, int]:
    """Make a key and return its text, which nobody will see again."""
    Query(request.environ).finish()
    caller, account = _owner()
    body = read_json(request, NewKeyBody)
    end = None if body.expires_at is None else parse_time(str(body.expires_at), "expires_at") / 1000
    with own_change("keys.create", body.name):
        made = services_of(current_app).access.keys.create(account, body.name, body.scopes, end, caller)
    return jsonify(id=made.id, key=made.text), 201


@keys.delete("/<int:key>")
def revoke_key(key: int) -> tuple[str, int]:
    """End one of the caller's keys, for all processes."""
    Query(request.environ).finish()
    _, account = _owner()
    with own_change("keys.revoke", f"key {key}"):
        services_of(current_app).access.keys.revoke(min(key, MAX_ID), account)
    return "", 204


def _owner() -> tuple[Caller, int]:
    """Return who asks, and the account whose keys he may look after.

    Raises:
        Refused: he has none.
        Forbidden: he came with a key that is not good for this.
    """
    caller = caller_of(request.environ)
    if caller.account is None:
        raise Refused("this needs an API key or a session")
    if Scope.KEYS not in caller.scopes:
        raise Forbidden(f"this needs the scope {Scope.KEYS}")
    return caller, caller.account


def _shown(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "scopes": key.scopes,
        "created_at": _moment(key.created_at),
        "expires_at": _moment(key.expires_at),
        "last_used_at": _moment(key.last_used_at),
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(int(seconds * 1000))
