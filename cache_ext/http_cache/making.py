"""From what the application answered to what is stored; and what a 304 makes of what was stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from cache_ext.http_cache.codings import IDENTITY, encode_all, is_text
from cache_ext.http_cache.conditional import is_entity_tag, opaque
from cache_ext.http_cache.fields import Directives, Headers, http_date, joined, values_of
from cache_ext.http_cache.freshness import date_of, explicit_lifetime, heuristic_lifetime, initial_age
from cache_ext.http_cache.options import Options
from cache_ext.http_cache.stored import Parts, StoredResponse, check_head
from cache_ext.http_cache.storing import is_for_all, kept_fields
from cache_ext.http_cache.variants import Choice, vary_names

_VALIDATORS = frozenset({"etag", "last-modified"})
_OF_THE_BODY = frozenset({"content-encoding", "content-length", "content-range"})
"""Fields of a 304 that do not replace those of the body that is kept (RFC 9111, section 3.2)."""
_ETAG_BYTES = 12
_MOST_TAGS = 256


class Draft(NamedTuple):
    """A whole response of the application.

    Args:
        status: with its phrase.
        asked, received: Unix times of the request and of the response.
        resident: seconds since the oldest thing that it was made of was loaded.
        bodies: those of the response that it replaces, for the case that the body is the same.
    """

    status: str
    headers: Headers
    body: bytes
    asked: float
    received: float
    resident: float
    bodies: dict[str, bytes]


class Made(NamedTuple):
    """What is to be stored, and for how long.

    Args:
        fresh_for, stale_for: seconds, from when it was received, and past that.
    """

    response: StoredResponse
    fresh_for: float
    stale_for: float
    tags: tuple[str, ...]


def make(draft: Draft, options: Options, choice: Choice) -> Made | None:
    """Return what to store of *draft*, which may be stored; None if it would be of no use.

    Args:
        choice: what the request says in the fields that Vary names.
    """
    headers, received = draft.headers, draft.received
    directives = Directives(joined(headers, "cache-control"))
    code = int(draft.status[:3])
    lifetime = explicit_lifetime(headers, directives, received)
    if lifetime is None and options.heuristic:
        lifetime = heuristic_lifetime(headers, directives, code, received)
    age = initial_age(headers, draft.asked, received)
    left = min(options.longest, (lifetime or 0.0) - age)
    etag, last_modified = _validators(headers)
    validate = directives.covers_all("no-cache") or not lifetime
    if (validate and not etag and not last_modified) or (not validate and left <= 0):
        return None
    if (tags := _tags(headers)) is None or not _is_sendable(draft.status, headers):
        return None
    never_stale = _is_never_stale(directives)
    revalidate, if_error = _stale_windows(directives, options, never_stale=never_stale)
    own_etag = not etag and options.make_etags and code == 200
    changed = http_date(last_modified)
    parts = Parts(
        status=draft.status,
        headers=tuple(_sent(headers, directives, options)),
        bodies=_bodies(draft, directives, options),
        etag=_own_etag(draft.body) if own_etag else etag,
        own_etag=own_etag,
        last_modified=last_modified,
        made=date_of(headers, received),
        modified=date_of(headers, received) if changed is None else changed,
        excess=_excess(headers, age, draft.resident),
        stale_while_revalidate=revalidate,
        stale_if_error=if_error,
        validate=validate,
        never_stale=never_stale,
        for_all=all(is_for_all(directives, name.lower()) for name in options.credentials),
        vary=vary_names(headers),
        choice=choice,
    )
    keep = options.validation_window if etag or last_modified else 0.0
    return Made(StoredResponse(parts), 0.0 if validate else left, max(revalidate, if_error, keep), tags)


def freshened(stored: Parts, update: Headers) -> list[tuple[str, str]] | None:
    """Return the fields of *stored* with those of a 304, *update*; None if that is about another response.

    Source: RFC 9111, sections 3.2 and 4.3.4.
    """
    old = list(stored.headers)
    if stored.etag and not stored.own_etag:
        old.append(("ETag", stored.etag))
    if stored.last_modified:
        old.append(("Last-Modified", stored.last_modified))
    told = values_of(update, "etag")
    if told and (len(told) > 1 or not stored.etag or opaque(told[0].strip()) != opaque(stored.etag)):
        return None
    new = [(name, value) for name, value in update if name.lower() not in _OF_THE_BODY]
    replaced = {name.lower() for name, _ in new}
    return [(name, value) for name, value in old if name.lower() not in replaced] + new


def _is_sendable(status: str, headers: Headers) -> bool:
    """Tell whether HTTP allows what the application gave."""
    try:
        check_head(status, headers)
    except ValueError:
        return False
    return True


def _excess(headers: Headers, age: float, resident: float) -> float:
    """Return how much older than its oldest part the response is.

    One that tells its Age knows better which parts count; else it is no younger than any of them.
    """
    return age - resident if values_of(headers, "age") else max(0.0, age - resident)


def _validators(headers: Headers) -> tuple[str, str]:
    """Return ETag and Last-Modified, each "" if there is not exactly one that is valid."""
    etags, dates = values_of(headers, "etag"), values_of(headers, "last-modified")
    etag = etags[0].strip() if len(etags) == 1 and is_entity_tag(etags[0].strip()) else ""
    return etag, dates[0] if len(dates) == 1 and http_date(dates[0]) is not None else ""


def _is_never_stale(directives: Directives) -> bool:
    """Tell whether a stale response must not be used, whoever would take it (RFC 9111, section 4.2.4)."""
    names = ("must-revalidate", "proxy-revalidate", "s-maxage", "no-cache")
    return any(name in directives for name in names)


def _stale_windows(directives: Directives, options: Options, *, never_stale: bool) -> tuple[float, float]:
    """Return how long past its freshness it may serve, while refreshed and if that fails (RFC 5861)."""
    if never_stale or not options.serve_stale:
        return 0.0, 0.0
    return (
        min(options.longest, directives.seconds("stale-while-revalidate") or 0),
        min(options.longest, directives.seconds("stale-if-error") or 0),
    )


def _sent(headers: Headers, directives: Directives, options: Options) -> Iterable[tuple[str, str]]:
    gone = _VALIDATORS if options.surrogate_keys else _VALIDATORS | {"surrogate-key"}
    return [field for field in kept_fields(headers, directives) if field[0].lower() not in gone]


def _bodies(draft: Draft, directives: Directives, options: Options) -> dict[str, bytes]:
    """Return the body in all codings in which it is kept (no-transform: RFC 9111, section 5.2.2.6)."""
    if draft.bodies.get(IDENTITY) == draft.body:
        return draft.bodies
    kind, coded = joined(draft.headers, "content-type") or "", joined(draft.headers, "content-encoding")
    if options.compress and coded is None and is_text(kind) and "no-transform" not in directives:
        return encode_all(draft.body)
    return {IDENTITY: draft.body}


def _own_etag(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=_ETAG_BYTES).hexdigest()}"'


def _tags(headers: Headers) -> tuple[str, ...] | None:
    """Return the tags that Surrogate-Key names; None if they are too many to be honoured."""
    named = " ".join(values_of(headers, "surrogate-key")).split()
    return tuple(dict.fromkeys(named)) if len(named) <= _MOST_TAGS else None
