"""May a response be stored, and which of its fields. Source: RFC 9111, section 3."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cache_ext.http_cache.fields import HOP_BY_HOP, Directives, Headers, joined, list_parts
from cache_ext.http_cache.freshness import HEURISTICALLY_CACHEABLE

NEVER_STORED = frozenset({206, 304, 428, 429, 431, 511})
"""Parts and updates, which are no responses by themselves, and what RFC 6585 forbids to store."""
UNDERSTOOD = frozenset({*HEURISTICALLY_CACHEABLE, 302, 303, 307, 400, 401, 403, 406, 409, 411, 412, 413}) | {
    *(415, 416, 417, 421, 422, 426, 451, 500, 502, 503, 504, 505)
}
"""Status codes whose rules for caches are kept here; what ``must-understand`` asks for."""
OF_ONE_ANSWER = frozenset(
    {"age", "cache-status", "content-length", "set-cookie", "set-cookie2", "x-cache", "x-request-id"}
)
"""Fields that belong to one answer, never to what is stored."""


class Verdict(NamedTuple):
    """Whether a response may be stored.

    Args:
        refusal: why not, in a word; "" if it may.
        for_others: the same request by somebody else may fare better: it is this one's fault.
    """

    refusal: str
    for_others: bool = False


OK = Verdict("")


def judge(status: int, headers: Headers, directives: Directives, *, credentials: Iterable[str]) -> Verdict:
    """Tell whether a response to GET may be stored by a cache that many share.

    Args:
        directives: of its Cache-Control.
        credentials: lower-case names of the request's fields that say who asks, ``authorization`` among them.
    """
    if status < 200 or status in NEVER_STORED:
        return Verdict("status", for_others=True)
    understood = "must-understand" in directives and status in UNDERSTOOD
    if "must-understand" in directives and not understood:
        return Verdict("must-understand")
    if "no-store" in directives and not understood:
        return Verdict("no-store")
    if "private" in directives and directives.covers_all("private"):
        return Verdict("private")
    if (refusal := _shares(directives, credentials)) is not None:
        return refusal
    if joined(headers, "set-cookie") is not None and "set-cookie" not in withheld(directives):
        return Verdict("set-cookie")
    if "*" in list_parts(joined(headers, "vary") or ""):
        return Verdict("vary")
    says = any(name in directives for name in ("public", "max-age", "s-maxage", "private"))
    if not says and status not in HEURISTICALLY_CACHEABLE and joined(headers, "expires") is None:
        return Verdict("status")
    return OK


def is_for_all(directives: Directives, credential: str) -> bool:
    """Tell whether a response to a request that said who asks may be given to others.

    Source: RFC 9111, section 3.5, of Authorization. Of other credentials, cookies say, ``must-revalidate``
    says nothing.
    """
    if "public" in directives or "s-maxage" in directives:
        return True
    return credential == "authorization" and "must-revalidate" in directives


def withheld(directives: Directives) -> frozenset[str]:
    """Return the fields that must not be reused, lower-case (RFC 9111, sections 5.2.2.4 and 5.2.2.7)."""
    return directives.fields("no-cache") | directives.fields("private")


def kept_fields(headers: Headers, directives: Directives) -> list[tuple[str, str]]:
    """Return the fields of a response that are stored (RFC 9111, section 3.1)."""
    named = {name.lower() for name in list_parts(joined(headers, "connection") or "")}
    gone = HOP_BY_HOP | OF_ONE_ANSWER | named | withheld(directives)
    return [(name, value) for name, value in headers if name.lower() not in gone]


def _shares(directives: Directives, credentials: Iterable[str]) -> Verdict | None:
    for credential in credentials:
        if not is_for_all(directives, credential):
            return Verdict(credential, for_others=True)
    return None
