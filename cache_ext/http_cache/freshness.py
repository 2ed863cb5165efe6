"""How long a response is fresh, and how old it was when it came. Source: RFC 9111, section 4.2."""

from __future__ import annotations

from cache_ext.http_cache.fields import Directives, Headers, delta_seconds, http_date, list_parts, values_of

HEURISTIC_SHARE = 0.1
"""Of the time since the last change, for which a response that says nothing may count as fresh."""
HEURISTIC_MOST = 86_400.0
"""Seconds; a longer guess needs a warning that no longer exists."""
HEURISTICALLY_CACHEABLE = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""RFC 9110, section 15.1, but for 206, which is never stored here."""


def explicit_lifetime(headers: Headers, directives: Directives, now: float) -> float | None:
    """Return for how many seconds the response says that it is fresh; None if it does not say.

    Args:
        now: when it was received, Unix time.
    Source: RFC 9111, sections 4.2.1 and 5.3.
    """
    for name in ("s-maxage", "max-age"):
        if (seconds := directives.seconds(name)) is not None:
            return float(seconds)
    expires = values_of(headers, "expires")
    if not expires:
        return None
    ends = http_date(expires[0]) if len(set(expires)) == 1 else None
    if ends is None:  # an invalid one, as "0", means that it has expired
        return 0.0
    return max(0.0, ends - date_of(headers, now))


def heuristic_lifetime(headers: Headers, directives: Directives, status: int, now: float) -> float | None:
    """Return for how many seconds a response that does not say may count as fresh; None: not at all.

    Source: RFC 9111, section 4.2.2.
    """
    if status not in HEURISTICALLY_CACHEABLE and "public" not in directives:
        return None
    changed = values_of(headers, "last-modified")
    since = http_date(changed[0]) if len(changed) == 1 else None
    if since is None or since > date_of(headers, now):
        return None
    return min(HEURISTIC_MOST, (date_of(headers, now) - since) * HEURISTIC_SHARE)


def date_of(headers: Headers, now: float) -> float:
    """Return when the response was made: its Date, or *now* if it has no valid one (RFC 9110, 6.6.1)."""
    dates = values_of(headers, "date")
    made = http_date(dates[0]) if dates else None
    return now if made is None else made


def age_value(headers: Headers) -> float:
    """Return the seconds of the Age field: its first member, 0 if that is invalid (RFC 9111, section 5.1)."""
    first = next(list_parts(", ".join(values_of(headers, "age"))), "")
    return float(delta_seconds(first) or 0)


def initial_age(headers: Headers, asked: float, received: float) -> float:
    """Return how old the response was when it was received, seconds.

    Args:
        asked, received: Unix times of the request and of the response.
    Source: RFC 9111, section 4.2.3: the corrected initial age.
    """
    apparent = max(0.0, received - date_of(headers, received))
    return max(apparent, age_value(headers) + max(0.0, received - asked))
