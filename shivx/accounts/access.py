"""What belongs to accounts, joined: database, accounts, keys, login, and who stands behind a request."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask

from cache_ext import TieredCache
from cache_ext.limits.limiter import Limiter
from shivx.accounts.accounts import Accounts
from shivx.accounts.api_keys import ApiKeys
from shivx.accounts.database import Database, open_database
from shivx.accounts.facts import register_identities
from shivx.accounts.guesses import Guesses
from shivx.accounts.identities import Identities, SessionReader
from shivx.accounts.last_used import LastUsed
from shivx.accounts.login import Login
from shivx.accounts.passwords import Passwords
from shivx.config import Settings


@dataclass(frozen=True, slots=True)
class Access:
    """What decides who gets in."""

    database: Database
    accounts: Accounts
    keys: ApiKeys
    login: Login
    identities: Identities

    def close(self) -> None:
        """Close the connections to the database."""
        self.database.close()


def open_access(
    app: Flask,
    settings: Settings,
    cache: TieredCache,
    *,
    limiter: Limiter | None = None,
    sessions: SessionReader | None = None,
    passwords: Passwords | None = None,
) -> Access:
    """Give *app* its database and what rests on it. Nothing is connected yet.

    Args:
        cache: where what is known of accounts and keys is kept.
        limiter: counts logins and guesses of keys; None for tests.
        sessions: reads those of requests; None if there are none.
        passwords: other costs than the usual, for tests.
    Raises:
        ConfigurationError: SHIVX_DATABASE_URL cannot be served.
    """
    register_identities(cache)
    database = open_database(app, settings)
    passwords = passwords or Passwords()
    accounts = Accounts(database, cache, passwords)
    keys = ApiKeys(database, cache)
    guesses = None if limiter is None else Guesses(limiter, settings.limit_anonymous)
    return Access(
        database,
        accounts,
        keys,
        Login(accounts, passwords, limiter),
        Identities(accounts, keys, LastUsed(database), guesses, sessions),
    )
