"""``/api/admin``: the audit, and what admins do to the cache by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, cast

from flask import Blueprint, Response, current_app, jsonify, request
from msgspec import UNSET, Meta, Struct, UnsetType, to_builtins

from blueprints.asked import cursor, integer, text
from blueprints.audited import audited_change, record
from blueprints.bodies import read_json
from blueprints.parameters import Query
from blueprints.rights import requires
from cache_ext.coherence.reasons import because
from cache_ext.coherence.receipts import Receipt
from cache_ext.errors import ConfigurationError as BadName
from cache_ext.explain.explaining import explain_key, explain_request
from cache_ext.http_cache.keys import Place, Places
from cache_ext.keys import check_name
from cache_ext.stats.reporting import report_of
from cache_ext.web.state import setting_name_of
from shivx.audit.events import Event, Outcome, Row
from shivx.cursors import encode_cursor
from shivx.errors import InvalidParameter, InvalidRequest
from shivx.front import COVERED
from shivx.identity import Tier
from shivx.request_ids import REQUEST_ID
from shivx.times import format_time
from shivx.wiring import services_of

admin = Blueprint("admin", __name__, url_prefix="/api/admin")
admins_only = requires(Tier.ADMIN, scope="admin")

MAX_ROWS = 500
MAX_NAMES = 100
MAX_BODY_BYTES = 262_144
"""Of 100 names of 1024 characters each."""
MAX_ASKED = 2_048
"""Characters of what is to be explained."""
ALL = "all"
_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
_Names = Annotated[list[_Text], Meta(min_length=1, max_length=MAX_NAMES)]


class AuditPosition(Struct, frozen=True, array_like=True, tag="audit"):
    """The number of the last row of a page."""

    number: Annotated[int, Meta(ge=1, le=2**63 - 1)]


class InvalidateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What shall count no more: one of tags, keys and paths."""

    tags: _Names | UnsetType = UNSET
    keys: _Names | UnsetType = UNSET
    paths: _Names | UnsetType = UNSET
    dry_run: bool = False


class FlushBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which cache shall be emptied, and why."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    cache: Annotated[str, Meta(max_length=64)] = ALL


ROWS = integer("limit", "Rows of a page.", default=100, low=1, high=MAX_ROWS)
AUDIT_CURSOR = cursor(AuditPosition)
EXPLAINED = (
    text("key", "A key of the cache.", MAX_ASKED, "price:{pair:simulated:SOL-USDC}"),
    text("path", "A path and its query, as clients ask for it.", MAX_ASKED, "/api/market/price/SOL-USDC"),
    text("request_id", "X-Request-ID of a request.", MAX_ASKED),
)
"""Of which one is to be given."""


@admin.after_request
def _keep_out_of_caches(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


@admin.get("/audit")
@admins_only
def list_audit() -> Response:
    """Return what was done, read and denied, newest first."""
    with Query(request.environ) as query:
        limit = ROWS.read(query)
        position = AUDIT_CURSOR.read(query)
    page = services_of(current_app).audit.page(limit, None if position is None else position.number)
    record("admin.read", Outcome.READ)
    entries = [*(_open(event) for event in page.open), *(_closed(row) for row in page.rows)]
    following = None if page.next is None else encode_cursor(AuditPosition(page.next))
    return jsonify(entries=entries, next=following)


@admin.get("/cache/stats")
@admins_only
def stats() -> Response:
    """Return what was counted of each cache and in all, by all workers of all instances."""
    Query(request.environ).finish()
    record("admin.read", Outcome.READ)
    return jsonify(to_builtins(report_of(services_of(current_app).cache, setting_name_of(current_app))))


@admin.get("/cache/explain")
@admins_only
def explain() -> Response:
    """Say what is known of a key, of the answers of a path, or of the requests that had an id.

    That nothing is known of it is an answer too, not a 404: why it is not there is what was asked.
    """
    with Query(request.environ) as query:
        asked = {each.name: each.read(query) for each in EXPLAINED}
        given = [name for name, value in asked.items() if value]
        if len(given) != 1:
            query.refuse("key", "too_many" if given else "required", "one of key, path and request_id")
    services, (kind,) = services_of(current_app), given
    name = asked[kind] or ""
    if kind == "request_id":
        record("admin.read", Outcome.READ)
        return jsonify(to_builtins(explain_request(services.cache, name)))
    key = _place_of(name, "path").key if kind == "path" else _checked("key", name)
    told = to_builtins(explain_key(services.cache, key))
    if kind == "path" and not name.startswith(COVERED):
        told["why"] = "no cache stands before this path"
    names = (key, *(tag["name"] for tag in told["tags"]))
    source = next((each for each in services.market.sources if any(f":{each}:" in n for n in names)), None)
    record("admin.read", Outcome.READ)
    return jsonify(source=source, path=asked["path"], **told)


@admin.post("/cache/invalidate")
@admins_only
def invalidate() -> Response:
    """Make what has a tag, lies at a key or answers a path count no more; or say what that would hit."""
    Query(request.environ).finish()
    body = read_json(request, InvalidateBody, MAX_BODY_BYTES)
    kind, names = _aim(body)
    places = [_place_of(path) for path in names] if kind == "paths" else []
    keys = names if kind == "keys" else [place.key for place in places]
    tags = names if kind == "tags" else [place.tag for place in places]
    cache = services_of(current_app).cache
    if body.dry_run:
        record("cache.invalidate_preview", Outcome.READ)
        return jsonify(dry_run=True, **to_builtins(cache.preview(*tags, keys=keys)))
    with audited_change("cache.invalidate", f"{kind}: {', '.join(names)}") as change, because(_by_hand()):
        receipts = []
        if keys:
            receipts.append(cache.delete(*keys))
        if tags:
            receipts.append(cache.invalidate_tags(*tags))
        change.outcome = _outcome(*receipts)
    return jsonify(dry_run=False, outcome=change.outcome, **cast("dict[str, Any]", {kind: names}))


@admin.post("/cache/flush")
@admins_only
def flush() -> Response:
    """Make all that is cached count no more."""
    Query(request.environ).finish()
    body = read_json(request, FlushBody)
    if body.cache != ALL:
        wrong = InvalidParameter("cache", "unknown_choice", f"{ALL}; parts of it have tags: invalidate these")
        raise InvalidRequest([wrong])
    with audited_change("cache.flush", f"{ALL}: {body.reason}") as change, because(_by_hand(body.reason)):
        change.outcome = _outcome(services_of(current_app).cache.clear())
    return jsonify(outcome=change.outcome, cache=ALL)


def _aim(body: InvalidateBody) -> tuple[str, Sequence[str]]:
    """Return what kind of names *body* has, and these.

    Raises:
        InvalidRequest: it has several kinds or none, or a name that cannot be one.
    """
    kinds = {kind: getattr(body, kind) for kind in ("tags", "keys", "paths")}
    given = [(kind, names) for kind, names in kinds.items() if names is not UNSET]
    if len(given) != 1:
        code = "too_many" if given else "required"
        raise InvalidRequest([InvalidParameter("tags", code, "one of tags, keys and paths")])
    ((kind, names),) = given
    for name in names if kind != "paths" else ():
        _checked(kind, name)
    return kind, list(dict.fromkeys(names))


def _checked(parameter: str, name: str) -> str:
    """Return *name*. Raises InvalidRequest: it cannot be a key or tag."""
    try:
        return check_name(name)
    except BadName as error:
        raise InvalidRequest([InvalidParameter(parameter, "malformed", str(error))]) from None


def _by_hand(reason: str = "") -> str:
    """Return why something is invalidated: an admin's request."""
    return f"admin request {request.environ.get(REQUEST_ID, '')}" + (f": {reason}" if reason else "")


def _place_of(path: str, parameter: str = "paths") -> Place:
    """Return where the responses of *path*, with its query, lie on the host that this request names.

    Raises:
        InvalidRequest: it is no path.
    """
    place = Places().named(request.environ, path) if path.startswith("/") else None
    if place is None:
        raise InvalidRequest([InvalidParameter(parameter, "malformed", "/path?query, as clients ask for it")])
    return place


def _outcome(*receipts: Receipt) -> Outcome:
    return Outcome.DONE if all(receipt.applied for receipt in receipts) else Outcome.QUEUED


def _closed(row: Row) -> dict[str, object]:
    return {"number": row.number, **_told(row.event), "of": row.event.of, "mac": row.mac}


def _open(event: Event) -> dict[str, object]:
    """Return what is being counted still: it has no number yet."""
    return {"number": None, **_told(event), "of": None, "mac": None}


def _told(event: Event) -> dict[str, object]:
    return {
        "at": format_time(event.at),
        "action": event.action,
        "target": event.target,
        "outcome": event.outcome,
        "count": event.count,
        "subject": event.subject,
        "account": event.account,
        "name": event.name,
        "tier": event.tier,
        "via": event.via,
        "key": event.key,
        "address": event.address,
        "request_id": event.request_id,
    }
