"""``flask cache explain``: what is known of a key, or of a request, in all processes, as lines or JSON."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec
from flask import current_app

from cache_ext.errors import ConfigurationError
from cache_ext.explain.answers import Copy, KeyTold, RequestsTold, RequestTold
from cache_ext.explain.explaining import explain_key, explain_request
from cache_ext.explain.invalidations import Told
from cache_ext.web.state import cache_of


@click.argument("key", required=False)
@click.option("--request-id", help="Explain the requests that had this id instead of a key.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def explain(key: str | None, request_id: str | None, as_json: bool) -> None:
    """Say what is known of KEY: where it lies, whether it counts, why not, and who invalidated it.

    Exits with 0 if all processes were heard, 1 if not (what is known is told all the same), 2 if the command
    makes no sense.
    """
    if bool(key) == bool(request_id):
        raise click.UsageError("name a KEY or a --request-id")
    cache = cache_of(current_app)
    cache.start()
    try:
        told = explain_key(cache, key) if key else explain_request(cache, request_id or "")
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    finally:
        cache.close()
    lines = _key_lines(told) if isinstance(told, KeyTold) else _request_lines(told)
    click.echo(msgspec.json.encode(told).decode() if as_json else "\n".join(lines))
    if not told.complete:
        click.echo(f"not complete: {told.incomplete_because}", err=True)
        raise SystemExit(1)


def _key_lines(told: KeyTold) -> Iterator[str]:
    yield f"{told.key}: {told.state}"
    yield f"  why       {told.why}"
    if (stored := told.stored) is not None:
        yield f"  in Redis  {stored.bytes} bytes, loaded {stored.loaded_at} in {stored.load_seconds:.3f} s"
        left = f"ttl left {stored.ttl_left:.1f} s, stale {stored.stale_left:.1f} s"
        yield f"  age       {stored.age:.1f} s; {left}"
        yield f"  until     fresh {stored.fresh_until}, stale {stored.stale_until}"
    for copy in told.copies:
        yield f"  in L1     {_copy(copy)}"
    for tag in told.tags:
        yield f"  tag       {tag.name}: {tag.verdict} (made under {tag.made_under}, now {tag.current})"
        if tag.last_invalidation is not None:
            yield f"            invalidated {_told(tag.last_invalidation)}"
    if told.last_invalidation is not None:
        yield f"  last      {_told(told.last_invalidation)}"
    if told.loading:
        yield "  somebody is just loading it"


def _copy(copy: Copy) -> str:
    serves = "serves it" if copy.serves else "asks Redis before it serves it"
    return f"of {copy.host}/{copy.pid}, which {serves}; ttl left {copy.ttl_left:.1f} s, {copy.bytes} bytes"


def _told(told: Told) -> str:
    who = f" by {told.host}/{told.pid}" if told.host else ""
    return f"{told.at}{who}, {told.what}: {told.reason or 'no reason given'}"


def _request_lines(told: RequestsTold) -> Iterator[str]:
    yield f"{told.request_id}: {len(told.requests)} requests"
    if told.why is not None:
        yield f"  {told.why}"
    for request in told.requests:
        yield from _lines_of(request)


def _lines_of(request: RequestTold) -> Iterator[str]:
    took = "" if request.seconds is None else f" in {1000 * request.seconds:.1f} ms"
    status = "" if request.status is None else f" {request.status}"
    yield f"  {request.at} {request.method or 'GET or HEAD'} {request.asks}"
    answered = f"{request.outcome}{status}{took}, by {request.host}/{request.pid}"
    yield f"    {answered} {request.cache_status or ''}".rstrip()
    for read in request.reads:
        reason = f" ({read.reason})" if read.reason else ""
        yield f"    {1000 * read.after:8.1f} ms  {read.outcome:5} {read.layer:6} {read.key}{reason}"
    if request.hidden:
        yield f"    and {request.hidden} reads that are not shown"
