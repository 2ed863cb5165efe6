"""Times as they are told."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(unix: float) -> str:
    """Return *unix*, seconds, as RFC 3339 says it, to the millisecond; "" if it cannot."""
    try:
        told = datetime.fromtimestamp(unix, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return told.isoformat(timespec="milliseconds").replace("+00:00", "Z")
