"""Scopes: what an API key can be good for, and which of them an account of each tier may have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from shivx.errors import InvalidParameter
from shivx.identity import Tier


class Scope(StrEnum):
    """What a key is good for."""

    READ = "read"
    """Market data, indicators, predictions."""
    KEYS = "keys"
    """The account's API keys: list, make, revoke."""
    EVENTS = "events"
    """Posting events."""
    ADMIN = "admin"
    """All that is for admins."""


SCOPES_OF: Mapping[Tier, frozenset[str]] = {
    Tier.ANONYMOUS: frozenset(),
    Tier.AUTHENTICATED: frozenset({Scope.READ, Scope.KEYS}),
    Tier.PREMIUM: frozenset({Scope.READ, Scope.KEYS}),
    Tier.ADMIN: frozenset(Scope),
    Tier.SERVICE: frozenset({Scope.EVENTS}),
}
"""What an account may do at most; its sessions may all of it, its keys what they were made for."""


def allowed_scopes(names: Iterable[str] | None, most: frozenset[str]) -> frozenset[str]:
    """Return the scopes of a key to be made.

    Args:
        names: those asked for; None for the least that makes sense.
        most: those that its maker and its account may have.
    Raises:
        InvalidParameter: there is none, one is unknown, or one is not among *most*.
    """
    if names is None:
        return most & {Scope.READ} or most
    asked = frozenset(names)
    if not asked or not asked <= frozenset(Scope):
        raise InvalidParameter("scopes", "unknown_choice", f"one or more of {', '.join(Scope)}")
    if not asked <= most:
        raise InvalidParameter("scopes", "not_allowed", f"at most {', '.join(sorted(most)) or 'none'}")
    return frozenset(str(name) for name in asked)
