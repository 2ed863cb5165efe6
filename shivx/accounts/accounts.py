"""Accounts: made, changed, and known to every process; a change ends what was known before."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cache_ext import TieredCache
from shivx.accounts.database import Database
from shivx.accounts.facts import POLICY, Account
from shivx.accounts.models import AccountRow
from shivx.accounts.naming import account_name
from shivx.accounts.passwords import Passwords
from shivx.errors import Conflict, InvalidParameter, NotFound
from shivx.identity import Tier
from shivx.names import account_key, account_tag
from shivx.services.facts import Facts

EPOCH_BITS = 53
"""Of a random number, so that no session outlives a database that is made anew; JSON keeps 53 bits."""
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True, repr=False)
class Known:
    """An account and what its password is compared with."""

    account: Account
    password_hash: str | None


class UnknownAccount(NotFound):
    """There is no account of that name or number."""


class Accounts:
    """The accounts of the service.

    Args:
        database: where they are.
        cache: where what requests need of them is kept.
        passwords: hashes new ones.
    Raises (all methods):
        DatabaseUnavailable: no usable answer.
    """

    def __init__(self, database: Database, cache: TieredCache, passwords: Passwords) -> None:
        self._database = database
        self._cache = cache
        self._facts = Facts(cache)
        self._passwords = passwords

    def create(self, name: str, tier: Tier, password: str | None = None) -> Account:
        """Make an account.

        Args:
            name: see `account_name`.
            password: None for an account that nobody can log in to, but API keys can be made for.
        Raises:
            InvalidParameter: a name, tier or password that cannot be.
            Conflict: there is one of that name.
            TooBusy: so many passwords wait to be hashed.
        """
        if tier is Tier.ANONYMOUS:
            raise InvalidParameter("tier", "unknown_choice", "an account's tier is not anonymous")
        row = AccountRow(
            name=account_name(name),
            tier=str(tier),
            password_hash=None if password is None else self._passwords.hash(password),
            epoch=secrets.randbits(EPOCH_BITS),
            disabled=False,
            created_at=time.time(),
        )

        def add(session: Session) -> Account:
            session.add(row)
            session.flush()
            return account_of(row)

        try:
            return self._database.write(add)
        except IntegrityError:
            raise Conflict(f"there is an account called {row.name}") from None

    def list(self, after: int = 0, limit: int = MAX_PAGE) -> list[Account]:
        """Return up to *limit* accounts with numbers above *after*, in order."""
        rows = select(AccountRow).where(AccountRow.id > after).order_by(AccountRow.id).limit(limit)
        return self._database.read(lambda session: [account_of(row) for row in session.scalars(rows)])

    def named(self, name: str) -> Known:
        """Return the account called *name*, from the database.

        Raises:
            UnknownAccount: there is none.
        """
        try:
            wanted = account_name(name)
        except InvalidParameter:
            wanted = ""  # none has it; asked for all the same, which takes the same time

        def find(session: Session) -> Known | None:
            row = session.scalar(select(AccountRow).where(AccountRow.name == wanted))
            return None if row is None else Known(account_of(row), row.password_hash)

        found = self._database.read(find)
        if found is None:
            raise UnknownAccount("there is no account of that name")
        return found

    def get(self, account: int) -> Account:
        """Return the account with this number, from the cache if it is there.

        Raises:
            UnknownAccount: there is none.
        """
        tags = (account_tag(account),)
        return self._facts.value(
            account_key(account), Account, lambda: self._load(account), policy=POLICY, tags=tags
        )

    def epoch(self, account: int) -> int:
        """Return the account's epoch: sessions of another are over.

        Raises:
            UnknownAccount: there is none.
        """
        return self.get(account).epoch

    def bump_epoch(self, account: int) -> Account:
        """End all sessions of the account, whoever has a copy of one."""
        return self._change(account, lambda row: None)

    def next_epoch(self, account: int) -> tuple[int, int]:
        """Do as `bump_epoch`; return which epoch it was and which it is, to carry sessions over."""
        was: list[int] = []
        changed = self._change(account, lambda row: was.append(row.epoch))
        return was[-1], changed.epoch

    def disable(self, account: int, disabled: bool = True) -> Account:
        """Let nobody in any more, by session, key or password; or let them in again."""

        def change(row: AccountRow) -> None:
            row.disabled = disabled

        return self._change(account, change)

    def set_tier(self, account: int, tier: Tier) -> Account:
        """Give the account other rights; its sessions end."""
        if tier is Tier.ANONYMOUS:
            raise InvalidParameter("tier", "unknown_choice", "an account's tier is not anonymous")

        def change(row: AccountRow) -> None:
            row.tier = str(tier)

        return self._change(account, change)

    def set_password(self, account: int, password: str) -> Account:
        """Give the account another password; its sessions end.

        Raises:
            InvalidParameter: no password can be that.
            TooBusy: so many wait to be hashed.
        """
        made = self._passwords.hash(password)

        def change(row: AccountRow) -> None:
            row.password_hash = made

        return self._change(account, change)

    def renew_hash(self, known: Known, password: str) -> None:
        """Keep *password*, which fits, under the costs of today, unless it was changed meanwhile."""
        made = self._passwords.hash(password)
        same = (AccountRow.id == known.account.id, AccountRow.password_hash == known.password_hash)
        statement = update(AccountRow).where(*same).values(password_hash=made)
        self._database.write(lambda session: session.execute(statement) and None)

    def _change(self, account: int, change: Callable[[AccountRow], None]) -> Account:
        """Change a row and end what all processes know of it."""

        def apply(session: Session) -> Account:
            row = session.get(AccountRow, account, with_for_update=True)
            if row is None:
                raise UnknownAccount("there is no account with that number")
            change(row)
            row.epoch = _other_than(row.epoch)
            return account_of(row)

        changed = self._database.write(apply)
        self._cache.invalidate_tags(account_tag(account))
        return changed

    def _load(self, account: int) -> Account:
        row = self._database.read(lambda session: session.get(AccountRow, account))
        if row is None:
            raise UnknownAccount("there is no account with that number")
        return account_of(row)


def account_of(row: AccountRow) -> Account:
    """Return what requests need to know of *row*."""
    return Account(row.id, row.name, Tier(row.tier), row.epoch, row.disabled, row.created_at)


def _other_than(epoch: int) -> int:
    while (new := secrets.randbits(EPOCH_BITS)) == epoch:
        pass
    return new
