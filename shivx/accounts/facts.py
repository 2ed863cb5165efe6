"""What requests need to know of accounts and keys, as the cache keeps it: sealed, under ``account:<id>``."""

from __future__ import annotations

from msgspec import Struct

from cache_ext import CachePolicy, TieredCache
from shivx.identity import Tier

POLICY = CachePolicy(ttl=60.0, stale_if_error=300.0, failure_throttle=0.5, sensitive=True, name="identity")
"""An invalidation ends what is kept, whatever the times; they matter to changes made past this program, by
hand in the database, and to a database that is away."""


class Account(Struct, frozen=True):
    """One account.

    Args:
        id: its number.
        name: unique.
        tier: what it may do, and how often.
        epoch: sessions of another are over.
        disabled: nobody gets in.
        created_at: Unix seconds.
    """

    id: int
    name: str
    tier: Tier
    epoch: int
    disabled: bool
    created_at: float


class KeyFacts(Struct, frozen=True):
    """What an API key is good for.

    Args:
        id: the key's number.
        account: whose it is.
        scopes: those that it was made for; the account's tier may allow fewer by now.
        expires_at: Unix seconds, None for never.
    """

    id: int
    account: Account
    scopes: frozenset[str]
    expires_at: float | None


def register_identities(cache: TieredCache) -> None:
    """Make them cacheable; they are frozen, so all readers share one object."""
    cache.register_type(Account, name="account-1", shared=True)
    cache.register_type(KeyFacts, name="keyfacts-1", shared=True)
