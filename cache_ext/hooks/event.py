"""An event as a hook gets it, and what becomes of one that is emitted."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct


class Event(Struct, frozen=True):
    """What a hook is called with.

    Args:
        name: under which it was emitted.
        id: its emitter's, or a random one; the same each time that it is tried.
        at: when it was emitted, Unix seconds by the clock of Redis (without Redis, of this host).
        data: what was emitted with it; each hook gets its own copy.
    """

    name: str
    id: str
    at: float
    data: Any


class Fate(StrEnum):
    """What became of an event. None of these says that a hook has run.

    ACCEPTED: Redis has it. REPEATED: its id was seen in the last 24 hours, so nothing was done.
    HERE: Redis is away (or not used), so the hooks of this process are about to run in it, and only they.
    QUEUED: Redis is away and this process has no hook for it; Redis is told when it is back. The last two
    are lost with the process.
    """

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    HERE = "here"
    QUEUED = "queued"


class Emission(NamedTuple):
    """An event to be emitted; see `Hooks.emit`."""

    name: str
    data: Any = None
    id: str | None = None


class Emitted(NamedTuple):
    """The receipt for an event: its id, given or made, what became of it, and the tags it invalidated."""

    id: str
    fate: Fate
    tags: tuple[str, ...] = ()


class Sent(NamedTuple):
    """An event as it travels.

    Args:
        payload: its data, encoded.
        named: its emitter gave the id.
        settled: what it invalidates is invalidated already.
    """

    name: str
    id: str
    payload: bytes
    named: bool
    settled: bool = False
