"""Field values of HTTP messages, parsed strictly: what cannot be read says so, and is never guessed."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache

Headers = Sequence[tuple[str, str]]

MOST_SECONDS = 2**31
"""What is larger counts as this (RFC 9111, section 1.2.2)."""
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Of one connection, not of the message (RFC 9110, section 7.6.1; RFC 9111, section 3.1)."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_PART = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_BALANCED = re.compile(r'(?:[^"]|"(?:[^"\\]|\\.)*")*+\Z')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\Z')
_ESCAPE = re.compile(r"\\(.)")
_DIGITS = re.compile(r"[0-9]+\Z")
_LONGEST_NUMBER = 10
"""Digits; more are above `MOST_SECONDS` unless they begin with zeros."""
_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_LONG_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_TIME = r"(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)"
_DATES = tuple(
    re.compile(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        rf"(?:{_DAYS}), (?P<d>\d\d) (?P<m>{_MONTHS}) (?P<y>\d{{4}}) {_TIME} GMT\Z",
        rf"(?:{_LONG_DAYS}), (?P<d>\d\d)-(?P<m>{_MONTHS})-(?P<y>\d\d) {_TIME} GMT\Z",
        rf"(?:{_DAYS}) (?P<m>{_MONTHS}) (?P<d>[ \d]\d) {_TIME} (?P<y>\d{{4}})\Z",
    )
)
_CENTURY, _FAR_YEARS, _LEAP_SECOND = 100, 50, 60


def values_of(headers: Headers, name: str) -> list[str]:
    """Return the values of all lines of *name* (lower-case), in order."""
    return [value for known, value in headers if known.lower() == name]


def joined(headers: Headers, name: str) -> str | None:
    """Return the lines of *name* (lower-case) as one; None if there is none (RFC 9110, section 5.3)."""
    values = values_of(headers, name)
    return ", ".join(values) if values else None


def list_parts(value: str) -> Iterator[str]:
    """Yield the non-empty members of a list; commas in quoted strings that end part nothing."""
    parts: Iterable[str] = _PART.findall(value) if _BALANCED.match(value) else value.split(",")
    return (part for raw in parts if (part := raw.strip(" \t")))


def tokens(value: str) -> frozenset[str] | None:
    """Return the members of a list of tokens in lower case, None if one of them is no token."""
    parts = {part.lower() for part in list_parts(value)}
    return frozenset(parts) if all(map(_TOKEN.match, parts)) else None


def delta_seconds(text: str) -> int | None:
    """Return whole seconds, at most `MOST_SECONDS`; None if *text* is no such number."""
    if not _DIGITS.match(text):
        return None
    digits = text.lstrip("0") or "0"
    return MOST_SECONDS if len(digits) > _LONGEST_NUMBER else min(int(digits), MOST_SECONDS)


@lru_cache(512)
def http_date(text: str) -> float | None:
    """Return an HTTP-date as Unix time, None if *text* is none.

    Source: RFC 9110, section 5.6.7; RFC 9111, section 4.2: a cache takes names in any case.
    """
    for pattern in _DATES:
        if found := pattern.match(text):
            break
    else:
        return None
    year, second = int(found["y"]), int(found["S"])
    if len(found["y"]) == 2:
        year = _full_year(year)
    month = _MONTHS.split("|").index(found["m"].title()) + 1
    try:
        moment = datetime(
            year, month, int(found["d"]), int(found["H"]), int(found["M"]), min(second, _LEAP_SECOND - 1)
        )
    except ValueError:
        return None
    return float(calendar.timegm(moment.timetuple())) if second <= _LEAP_SECOND else None


def _full_year(short: int) -> int:
    """Return the year that ends in *short* and is not more than 50 years ahead."""
    this = datetime.now().year
    year = this - this % _CENTURY + short
    return year - _CENTURY if year > this + _FAR_YEARS else year


class Directives:
    """The directives of a Cache-Control field, by lower-case name.

    A name is recognised however oddly it is written, so that ``no-store`` always counts; a value must be
    exact, so that nothing odd makes a response fresh.
    """

    __slots__ = ("_found",)

    def __init__(self, field: str | None) -> None:
        self._found: dict[str, list[str | None]] = {}
        for part in list_parts(field or ""):
            name, equals, argument = part.partition("=")
            exact = name.rstrip(" \t")
            value = argument if name == exact else ""  # no space before "="
            self._found.setdefault(exact.lower(), []).append(value if equals else None)

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def seconds(self, name: str, broken: int = 0) -> int | None:
        """Return the seconds of *name*; None if it is absent, *broken* if it is unreadable or ambiguous.

        Source: RFC 9111, section 4.2.1: of several values, consider the response stale; section 5.2:
        quoted numbers are read too.
        """
        if (arguments := self._found.get(name)) is None:
            return None
        read = {None if text is None else delta_seconds(_unquoted(text)) for text in arguments}
        (value, *others) = read
        return broken if others or value is None else value

    def is_bare(self, name: str) -> bool:
        """Tell whether *name* stands there without a value."""
        return self._found.get(name) == [None]

    def covers_all(self, name: str) -> bool:
        """Tell whether *name* stands there without readable field names, so that it means all."""
        return any(text is None or not _field_names(text) for text in self._found.get(name, ()))

    def fields(self, name: str) -> frozenset[str]:
        """Return the field names, lower-case, to which *name* is limited."""
        found = (_field_names(text) for text in self._found.get(name, ()) if text is not None)
        return frozenset().union(*found)


def _field_names(text: str) -> frozenset[str]:
    return tokens(_unquoted(text)) or frozenset()


def _unquoted(text: str) -> str:
    quoted = _QUOTED.match(text)
    return _ESCAPE.sub(r"\1", quoted[1]) if quoted else text
