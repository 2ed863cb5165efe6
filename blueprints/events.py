"""``/api/events``: what happened in the world, told by who knows it first."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint, Response, current_app, jsonify, request
from msgspec import Meta, Struct

from blueprints.audited import own_change
from blueprints.bodies import read_json
from blueprints.parameters import Query
from blueprints.rights import requires
from cache_ext import Emission
from cache_ext.errors import ConfigurationError as BadName
from cache_ext.keys import check_name
from shivx.accounts.scopes import Scope
from shivx.errors import InvalidParameter, InvalidRequest
from shivx.identity import Tier
from shivx.wiring import services_of

events = Blueprint("events", __name__, url_prefix="/api/events")

MAX_EVENTS = 500
MAX_BODY_BYTES = 524_288
"""About 1 kB an event."""
MAX_ERRORS = 20
"""More are not told at once."""
_Text = Annotated[str, Meta(min_length=1, max_length=128)] | None


class PostedEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """An event as a client writes it; absent and null are the same."""

    type: _Text = None
    pair: _Text = None
    model: _Text = None
    symbol: _Text = None
    source: _Text = None
    id: _Text = None


class EventsBody(PostedEvent, frozen=True, forbid_unknown_fields=True):
    """One event, or several under ``events``."""

    events: Annotated[list[PostedEvent], Meta(min_length=1, max_length=MAX_EVENTS)] | None = None


@events.after_request
def _keep_out_of_caches(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


@events.post("")
@requires(Tier.SERVICE, Tier.ADMIN, scope=Scope.EVENTS)
def post_events() -> tuple[Response, int]:
    """Invalidate what the events make out of date, and have hooks called for them."""
    Query(request.environ).finish()
    emissions = _read(read_json(request, EventsBody, MAX_BODY_BYTES))
    with own_change("events.post", ", ".join(sorted({event.name for event in emissions}))):
        receipts = services_of(current_app).events.emit_many(emissions)
    tags = dict.fromkeys(tag for receipt in receipts for tag in receipt.tags)
    return jsonify(invalidated=list(tags)), 202


def _read(body: EventsBody) -> list[Emission]:
    """Return the events of *body*.

    Raises:
        InvalidRequest: something is wrong with any of them; then none of them happens.
    """
    if body.events is None:
        posted: list[tuple[str, PostedEvent]] = [("", body)]
    elif any(getattr(body, name) is not None for name in PostedEvent.__struct_fields__):
        raise InvalidRequest([InvalidParameter("events", "not_allowed", "one event, or events, not both")])
    else:
        posted = [(f"events[{number}].", event) for number, event in enumerate(body.events)]
    emissions, errors = [], []
    for place, event in posted:
        try:
            emissions.append(_read_one(event))
        except InvalidParameter as error:
            errors.append(InvalidParameter(place + error.parameter, error.code, error.message))
    if errors:
        raise InvalidRequest(errors[:MAX_ERRORS])
    return emissions


def _read_one(event: PostedEvent) -> Emission:
    services = services_of(current_app)
    if event.type is None:
        raise InvalidParameter("type", "required", "the type of the event")
    if event.id is not None:
        try:
            check_name(event.id)
        except BadName as error:
            raise InvalidParameter("id", "malformed", str(error)) from None
    fields = {name: getattr(event, name) for name in ("pair", "model", "symbol", "source")}
    hooked = {hook.event for hook in services.events.registry.hooks()}
    return Emission(event.type, services.rules.data_of(event.type, fields, hooked), event.id)
