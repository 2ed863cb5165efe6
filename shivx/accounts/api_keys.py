"""API keys: made, shown once, kept as hashes, found by every request, and gone everywhere when revoked."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cache_ext import TieredCache
from shivx.accounts.accounts import UnknownAccount, account_of
from shivx.accounts.database import Database
from shivx.accounts.facts import POLICY, KeyFacts
from shivx.accounts.key_text import digest_of, hint_of, make_key
from shivx.accounts.models import AccountRow, ApiKeyRow
from shivx.accounts.naming import key_name
from shivx.accounts.scopes import SCOPES_OF, allowed_scopes
from shivx.errors import Conflict, DatabaseUnavailable, InvalidParameter, NotFound
from shivx.identity import Caller, Tier
from shivx.names import account_tag, api_key_key
from shivx.services.facts import Facts

MAX_KEYS = 50
"""Of one account."""
MAX_UNKNOWN = 4096
UNKNOWN_SECONDS = 10.0
"""How long a process remembers that there is no such key; none is ever made later with just these bits."""


class ApiKey(Struct, frozen=True):
    """What its owner may see of a key. Times are Unix seconds."""

    id: int
    name: str
    hint: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    last_used_at: float | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; nobody will see its text again."""

    id: int
    text: str = field(repr=False)


class UnknownKey(NotFound):
    """The account has no such key."""


class ApiKeys:
    """The keys of all accounts.

    Raises (all methods but `find`):
        DatabaseUnavailable: no usable answer.
    """

    def __init__(
        self,
        database: Database,
        cache: TieredCache,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._cache = cache
        self._facts = Facts(cache)
        self._now = now
        self._unknown: OrderedDict[bytes, float] = OrderedDict()

    def create(
        self,
        account: int,
        name: str,
        scopes: Iterable[str] | None = None,
        expires_at: float | None = None,
        maker: Caller | None = None,
    ) -> NewKey:
        """Make a key.

        Args:
            name: see `key_name`.
            scopes: see `allowed_scopes`.
            expires_at: Unix seconds; None for never.
            maker: who asks; a key can be made with no more than the rights and the time that he has. None
                for the operator.
        Raises:
            UnknownAccount: there is none with that number.
            InvalidParameter: a name, scope or time that cannot be.
            Conflict: the account has `MAX_KEYS`.
        """
        text = make_key()
        row = ApiKeyRow(
            account_id=account,
            name=key_name(name),
            digest=digest_of(text),
            hint=hint_of(text),
            created_at=self._now(),
            expires_at=expires_at,
        )
        if expires_at is not None and expires_at <= row.created_at:
            raise InvalidParameter("expires_at", "out_of_range", "a time to come")

        def add(session: Session) -> NewKey:
            owner = session.get(AccountRow, account, with_for_update=True)  # so that keys are counted right
            if owner is None:
                raise UnknownAccount("there is no account with that number")
            most = SCOPES_OF[Tier(owner.tier)]
            row.scopes = " ".join(sorted(allowed_scopes(scopes, most & maker.scopes if maker else most)))
            _refuse_longer_life(session, row, maker)
            count = select(func.count()).where(ApiKeyRow.account_id == account)
            if (session.scalar(count) or 0) >= MAX_KEYS:
                raise Conflict(f"an account has at most {MAX_KEYS} keys; revoke one first")
            session.add(row)
            session.flush()
            return NewKey(row.id, text)

        return self._database.write(add)

    def list(self, account: int, after: int = 0, limit: int = MAX_KEYS) -> list[ApiKey]:
        """Return up to *limit* keys of the account with numbers above *after*, in order."""
        mine = select(ApiKeyRow).where(ApiKeyRow.account_id == account, ApiKeyRow.id > after)
        rows = mine.order_by(ApiKeyRow.id).limit(limit)
        return self._database.read(lambda session: [_shown(row) for row in session.scalars(rows)])

    def revoke(self, key: int, account: int | None = None) -> int:
        """End a key; return whose it was. No process lets it in once the staleness bound has passed.

        Args:
            account: whose it has to be; None for anybody's.
        Raises:
            UnknownKey: there is none, or it is another's.
        """

        def remove(session: Session) -> int:
            row = session.get(ApiKeyRow, key)
            if row is None or account not in (None, row.account_id):
                raise UnknownKey("there is no such key")
            session.delete(row)
            return row.account_id

        owner = self._database.write(remove)
        self._cache.invalidate_tags(account_tag(owner))
        return owner

    def find(self, text: str, may_look: Callable[[], None] = lambda: None) -> KeyFacts | None:
        """Return what the key *text* is good for, None if there is none; it may have expired by now.

        What cannot be a key costs nothing, what is none one look into cache and database: neither keeps
        anything of it.

        Args:
            may_look: called before the database is asked; what it raises is raised.
        Raises:
            DatabaseUnavailable: the cache does not know it, and the database does not answer.
        """
        digest = digest_of(text)
        if digest is None or self._is_unknown(digest):
            return None
        found = self._cache.get(api_key_key(digest.hex()), sensitive=True)
        if isinstance(found, KeyFacts):
            return found
        may_look()
        return self._load(digest)

    def _load(self, digest: bytes) -> KeyFacts | None:
        """Return the key's facts from the database; they are kept only if there is a key."""
        owner = select(ApiKeyRow.account_id).where(ApiKeyRow.digest == digest)
        tags: tuple[str, ...] = ()
        try:
            account = self._database.read(lambda session: session.scalar(owner))
        except DatabaseUnavailable:
            pass  # the cache may have it past its time
        else:
            if account is None:
                self._note_unknown(digest)
                return None
            tags = (account_tag(account),)
        try:
            return self._facts.value(
                api_key_key(digest.hex()), KeyFacts, lambda: self._query(digest), policy=POLICY, tags=tags
            )
        except UnknownKey:  # revoked between the two
            return None

    def _query(self, digest: bytes) -> KeyFacts:
        statement = select(ApiKeyRow, AccountRow).join(AccountRow, ApiKeyRow.account_id == AccountRow.id)

        def find(session: Session) -> KeyFacts | None:
            found: Any = session.execute(statement.where(ApiKeyRow.digest == digest)).first()
            if found is None:
                return None
            row, owner = found
            return KeyFacts(row.id, account_of(owner), frozenset(row.scopes.split()), row.expires_at)

        facts = self._database.read(find)
        if facts is None:
            raise UnknownKey("there is no such key")
        return facts

    def _is_unknown(self, digest: bytes) -> bool:
        noted = self._unknown.get(digest)
        return noted is not None and time.monotonic() - noted < UNKNOWN_SECONDS

    def _note_unknown(self, digest: bytes) -> None:
        self._unknown.pop(digest, None)
        self._unknown[digest] = time.monotonic()
        if len(self._unknown) > MAX_UNKNOWN:
            self._unknown.popitem(last=False)


def _shown(row: ApiKeyRow) -> ApiKey:
    scopes = tuple(row.scopes.split())
    return ApiKey(row.id, row.name, row.hint, scopes, row.created_at, row.expires_at, row.last_used_at)


def _refuse_longer_life(session: Session, row: ApiKeyRow, maker: Caller | None) -> None:
    """Refuse *row* if the key that makes it ends before it: nobody prolongs what he was lent."""
    if maker is None or maker.key is None:
        return
    parent = session.get(ApiKeyRow, maker.key)
    if parent is None:
        raise Conflict("the key that makes this one was revoked")
    end = parent.expires_at
    if end is not None and (row.expires_at is None or row.expires_at > end):
        raise InvalidParameter("expires_at", "out_of_range", "not after the end of the key that makes it")
