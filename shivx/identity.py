"""Who asks: the caller of a request, as the gate found out and everything behind it believes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

CALLER = "shivx.caller"
"""Where the WSGI environment has the request's `Caller`; no header can put anything there."""


class Tier(StrEnum):
    """What a caller may do, and how often. SERVICE may post events, nothing else."""

    ANONYMOUS = "anonymous"
    AUTHENTICATED = "authenticated"
    PREMIUM = "premium"
    ADMIN = "admin"
    SERVICE = "service"


class Via(StrEnum):
    """How a caller proved who he is."""

    NOTHING = "nothing"
    KEY = "key"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Args:
        tier: his account's; ANONYMOUS without one.
        subject: whose quota a request costs: ``account:12``, ``address:203.0.113.7``, or the /64 of an
            IPv6 address.
        via: how he proved who he is.
        account: his account's id, None without one.
        name: his account's name, "" without one.
        scopes: what the API key he came with is good for; of a session: everything his tier may.
        key: the id of that API key, None without one.
    """

    tier: Tier
    subject: str
    via: Via = Via.NOTHING
    account: int | None = None
    name: str = ""
    scopes: frozenset[str] = frozenset()
    key: int | None = None


def caller_of(environ: Mapping[str, Any]) -> Caller:
    """Return who makes the request of *environ*. Raises KeyError: it did not come through the gate."""
    caller: Caller = environ[CALLER]
    return caller
