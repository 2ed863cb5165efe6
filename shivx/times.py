"""Instants as text: what a client may write, and what ShivX answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from shivx.errors import InvalidParameter

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, the end of RFC 3339."""
MIN_MS_IN_DIGITS = 100_000_000_000
"""Digits below this (March 1973), 0 aside, are taken for seconds by mistake: refused, not guessed."""

_DIGITS = re.compile(r"-?[0-9]+")
_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_LEAP_SECOND = "60"


def parse_time(text: str, parameter: str = "time") -> int:
    """Return the instant that *text* names, in Unix milliseconds, 0 to `MAX_MS`.

    Args:
        text: RFC 3339 with any offset and fraction (cut to milliseconds), or Unix milliseconds in digits:
            0, for "from the beginning", or at least `MIN_MS_IN_DIGITS`.
        parameter: what the error shall name.
    Raises:
        InvalidParameter: ``malformed`` or ``out_of_range``.
    Source: RFC 3339, section 5.6.
    """
    ms = _from_digits(text, parameter) if _DIGITS.fullmatch(text) else _from_rfc_3339(text, parameter)
    if not 0 <= ms <= MAX_MS:
        raise InvalidParameter(parameter, "out_of_range", "a time lies between 1970 and 9999")
    return ms


def format_time(ms: int) -> str:
    """Return *ms*, Unix milliseconds, as RFC 3339 UTC: ``2026-11-22T19:01:14.123Z``.

    What lies outside 0 to `MAX_MS` (only an exchange could say so) becomes the nearer end of it.
    """
    moment = EPOCH + timedelta(milliseconds=min(max(ms, 0), MAX_MS))
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _from_digits(text: str, parameter: str) -> int:
    if len(text) > len(str(MAX_MS)):
        return -1  # out of range, and no client makes us convert a megabyte of digits
    ms = int(text)
    if 0 < ms < MIN_MS_IN_DIGITS:
        raise InvalidParameter(
            parameter,
            "out_of_range",
            "digits are Unix milliseconds, and these would be before 1973: seconds?",
        )
    return ms


def _from_rfc_3339(text: str, parameter: str) -> int:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise _malformed(text, parameter)
    day, minute, second, fraction, offset = match.groups()
    leap = second == _LEAP_SECOND
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}:{'59' if leap else second}{offset.upper()}")
    except ValueError:
        raise _malformed(text, parameter) from None
    ms = (moment - EPOCH) // timedelta(milliseconds=1)
    if leap:
        ms += 1000
        if ms % 86_400_000:  # only the last minute of a UTC day has one
            raise _malformed(text, parameter)
    return ms + int((fraction or "")[:3].ljust(3, "0"))


def _malformed(text: str, parameter: str) -> InvalidParameter:
    hint = "; write + as %2B in a URL" if " " in text[-6:] else ""
    return InvalidParameter(
        parameter,
        "malformed",
        f"a time is RFC 3339 (2026-11-22T19:01:14Z) or Unix milliseconds (1795374074000){hint}",
    )
