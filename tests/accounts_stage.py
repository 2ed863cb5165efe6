"""Accounts under test: a database of each kind, cheap passwords, a limiter that counts, requests that ask."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from argon2 import PasswordHasher
from flask import Flask
from pydantic import SecretStr

from cache_ext import TieredCache, open_cache
from shivx.accounts.access import Access, open_access
from shivx.accounts.passwords import Passwords
from shivx.config import Settings

PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
SECRET = "s" * 32


@dataclass(frozen=True)
class Counted:
    """What the limiter below answers."""

    allowed: bool
    retry_after: float
    remaining: int
    renews: int


class CountingLimiter:
    """Counts what each subject does, for ever."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def check(self, subject: str, limit: int, cost: int = 1, window: float = 60.0) -> Counted:
        """Tell whether *subject* may do one more, and count it if so."""
        if self.counts[subject] + cost > limit:
            return Counted(False, 17.0, limit - self.counts[subject], 17)
        self.counts[subject] += cost
        return Counted(True, 0.0, limit - self.counts[subject], 17)


@dataclass(frozen=True)
class Session:
    """What a genuine session says."""

    account: int
    epoch: int


class OneSession:
    """Reads the same session from every request that has a cookie."""

    def __init__(self) -> None:
        self.session: Session | None = None

    def said(self, environ: Any) -> Session | None:
        """Return it."""
        return self.session if "HTTP_COOKIE" in environ else None


class Office:
    """One process' view of the accounts in a database.

    Args:
        cache: this process' own; others of the same namespace are other processes.
        url: of the database.
        hasher: costs of new passwords.
    """

    def __init__(self, cache: TieredCache, url: str, hasher: PasswordHasher = CHEAP) -> None:
        self.cache = cache
        self.limiter = CountingLimiter()
        self.sessions = OneSession()
        self.app = Flask("shivx", static_folder=None)
        self.settings = Settings(secret_keys=(SECRET,)).model_copy(update={"database_url": SecretStr(url)})
        self.access: Access = open_access(
            self.app,
            self.settings,
            cache,
            limiter=self.limiter,
            sessions=self.sessions,
            passwords=Passwords(hasher),
        )
        self.accounts = self.access.accounts
        self.keys = self.access.keys
        self.login = self.access.login
        self.database = self.access.database

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Close the connections to the database."""
        self.access.close()

    def identify(self, **environ: str) -> Any:
        """Return who makes a request with these WSGI variables."""
        return self.access.identities.identify({"REMOTE_ADDR": "203.0.113.7", **environ})


def sqlite_url(folder: Path) -> str:
    """Return the URL of a database in *folder*."""
    return f"sqlite:///{folder / 'accounts.db'}"


def upgrade(url: str) -> None:
    """Do as ``flask db upgrade`` does."""
    with Office(open_cache("memory://", secret_keys=(SECRET,)), url) as office:
        office.database.upgrade()
