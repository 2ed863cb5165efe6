"""Byte ranges of a stored response. Source: RFC 9110, sections 14.1 and 14.2."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*\Z", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range lies beyond the end: 416."""


def byte_range(value: str, size: int) -> tuple[int, int] | None:
    """Return the one range that *value*, a Range field, asks for, as slice; None if it is to be ignored.

    Several ranges are ignored, as are other units and what cannot be read: the answer is the whole then,
    which is always allowed.

    Args:
        size: bytes that there are.
    Raises:
        Unsatisfiable: nothing of it exists.
    """
    found = _RANGE.match(value)
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        last = int(found[2])
        if last == 0 or size == 0:
            raise Unsatisfiable
        return max(0, size - last), size
    start = int(found[1])
    if found[2] and int(found[2]) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, min(size, int(found[2]) + 1) if found[2] else size
