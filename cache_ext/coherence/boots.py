"""Telling one boot of the host from another: its monotonic clock begins anew with each."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_name() -> str:
    """Return a name for this boot of the host; ``boot`` if it has none."""
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return "boot"
