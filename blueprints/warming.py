"""``POST /api/admin/cache/warm``: load ahead what clients ask for, as a job."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint, Response, current_app, jsonify, request, url_for
from msgspec import UNSET, Meta, Struct, UnsetType, to_builtins

from blueprints.audited import audited_change
from blueprints.bodies import read_json
from blueprints.parameters import MAX_PAIRS, Query
from blueprints.rights import requires
from shivx.errors import InvalidParameter, InvalidRequest
from shivx.identity import Tier
from shivx.pairs import parse_pair
from shivx.wiring import services_of

warming = Blueprint("warming", __name__, url_prefix="/api/admin/cache")
_Pairs = Annotated[list[Annotated[str, Meta(max_length=65)]], Meta(min_length=1, max_length=MAX_PAIRS)]


class WarmBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which pairs of the default source; those that are set, and the hottest, if none are named."""

    pairs: _Pairs | UnsetType = UNSET


@warming.post("/warm")
@requires(Tier.ADMIN, scope="admin")
def warm() -> Response:
    """Load ahead, in a process of its own; the answer says where to see how far it is."""
    Query(request.environ).finish()
    body = read_json(request, WarmBody) if request.get_data() else WarmBody()
    try:
        named = [] if isinstance(body.pairs, UnsetType) else body.pairs
        pairs = list(dict.fromkeys(str(parse_pair(each, "pairs")) for each in named))
    except InvalidParameter as error:
        raise InvalidRequest([error]) from None
    with audited_change("cache.warm", ", ".join(pairs)):
        job = services_of(current_app).warming.start(pairs)
    response = jsonify(to_builtins(job))
    response.status_code = 202
    response.headers.update({"Location": url_for("ml.get_job", job=job.id), "Cache-Control": "no-store"})
    return response
