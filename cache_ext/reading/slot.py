"""An entry as this process holds it: its bytes, its times here, and how to take its value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cache_ext.entry import Entry

EARLY_FACTOR = 1.2
"""Refresh when what is left of the ttl is less than so many times the recent load time."""
EARLY_SHARE = 0.04
"""Or than this share of its life here: of what loads fast but is asked for seldom, somebody asks in time.

Loads become so much more frequent, of the 1.05 times that they may."""
SLOT_OVERHEAD_BYTES = 750
"""Measured cost of a slot beside its payload: its objects and key (tests/test_near.py)."""
TAG_OVERHEAD_BYTES = 430
"""Measured cost of a tag that no other slot has: its name, its version, its place in the index."""


class Slot:
    """An entry as this process holds it. Times are seconds on the monotonic clock.

    Args:
        key: its name.
        entry: what is stored, its payload plain.
        loaded: when its loader was called.
        generation: of the backplane's trust, at which the store vouched for it.
        take: returns the value; a copy of the caller's own, unless nobody can change it.
        held_bytes: what is held, beside the payload, for *take* to return.
        made: when this slot is, just after its loading or its first reading here; if unknown, it is refreshed
            early by its load time alone.
    """

    __slots__ = (
        "asked",
        "check_at",
        "early_at",
        "entry",
        "fresh_until",
        "generation",
        "key",
        "loaded",
        "serve_until",
        "size",
        "stale_until",
        "take",
        "ticket",
    )

    def __init__(
        self,
        key: str,
        entry: Entry,
        loaded: float,
        generation: int,
        take: Callable[[], Any],
        held_bytes: int = 0,
        made: float = math.inf,
    ) -> None:
        self.key = key
        self.entry = entry
        self.loaded = loaded
        self.generation = generation
        self.take = take
        self.asked = False
        """Whether it was read since L1 last looked: all that a hit has to note."""
        self.ticket = 0
        """Its number among those that L1 ranks; 0 for none."""
        self.fresh_until = fresh_until = loaded + entry.ttl / 1000
        self.stale_until = fresh_until + entry.stale_for / 1000
        lead = 0.0
        if entry.load_time:
            lead = max(EARLY_FACTOR * entry.load_time / 1000, EARLY_SHARE * (fresh_until - made))
        self.early_at = early_at = fresh_until - lead
        self.check_at = math.inf
        self.serve_until = -math.inf if entry.failed else early_at
        """Until then it is served with nothing else to do: neither raise nor refresh nor ask."""
        fixed = SLOT_OVERHEAD_BYTES + TAG_OVERHEAD_BYTES * len(entry.tags)
        self.size = len(memoryview(entry.payload)) + len(key) + fixed + held_bytes
        """Bytes that the slot is counted with."""

    def expire(self, moment: float) -> None:
        """Have it be stale from *moment* on, if not before; how long it may serve stays as it is."""
        self.fresh_until = min(self.fresh_until, moment)
        self.early_at = min(self.early_at, moment)
        self.serve_until = min(self.serve_until, moment)

    def check_by(self, moment: float) -> None:
        """Have the shared store asked again from *moment* on."""
        self.check_at = moment
        self.serve_until = min(self.serve_until, moment)
