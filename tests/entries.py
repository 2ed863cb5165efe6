"""Entries that are in order, for tests of what becomes of them."""

from __future__ import annotations

from typing import Any

import msgspec

from cache_ext.codec.entries import FORMAT
from cache_ext.entry import Entry, new_stamp


def entry(**changes: Any) -> Entry:
    """Return an entry that is in order, and that format 1 can say, but for *changes*."""
    fields = {
        "format": FORMAT,
        "token": new_stamp(),
        "epoch": b"epoch",
        "loaded_at": 1_700_000_000_000,
        "ttl": 60_000,
        "stale_for": 0,
        "load_time": 5,
        "tags": (("t", b"epoch", 3),),
        "sealed": False,
        "payload": msgspec.Raw(msgspec.msgpack.encode({"price": 1})),
    }
    return Entry(**(fields | changes))
