"""Who stands behind a request: an API key, a session, or just an address."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from shivx.accounts.accounts import Accounts, UnknownAccount
from shivx.accounts.api_keys import ApiKeys
from shivx.accounts.facts import Account, KeyFacts
from shivx.accounts.guesses import Guesses
from shivx.accounts.last_used import LastUsed
from shivx.accounts.scopes import SCOPES_OF
from shivx.addresses import address_subject
from shivx.errors import Refused
from shivx.identity import Caller, Tier, Via

__all__ = ["Identities", "Refused", "SessionFacts", "SessionReader", "address_subject"]

_BEARER = "bearer "


class SessionFacts(Protocol):
    """What a session says; see `cache_ext.sessions`."""

    @property
    def account(self) -> int:
        """Whose it is."""

    @property
    def epoch(self) -> int:
        """The account's epoch when it began."""


class SessionReader(Protocol):
    """Reads the session of a request."""

    def said(self, environ: Mapping[str, Any]) -> SessionFacts | None:
        """Return the session that the request's cookie names, whatever its epoch; None if there is none."""


class Identities:
    """Finds out who makes a request.

    Args:
        guesses: counts those of keys; None to let everybody guess, in tests.
        sessions: None if there are none.
        now: Unix seconds.
    """

    def __init__(
        self,
        accounts: Accounts,
        keys: ApiKeys,
        last_used: LastUsed,
        guesses: Guesses | None = None,
        sessions: SessionReader | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._keys = keys
        self._last_used = last_used
        self._guesses = guesses
        self._sessions = sessions
        self._now = now

    def identify(self, environ: Mapping[str, Any]) -> Caller:
        """Return who makes the request of *environ*.

        A key counts before a session. A session that is not, or no longer, good is as none; a key that is
        not is refused, since its sender counts on it.

        Raises:
            Refused: the key is unknown, expired, revoked, its account disabled, or no key at all.
            TooManyRequests: the key is not known here, and too many from this address were none.
            DatabaseUnavailable: that cannot be found out now.
        """
        text = presented_key(environ)
        if text is not None:
            return self._by_key(text, environ)
        session = self._sessions.said(environ) if self._sessions is not None else None
        if session is not None and (account := self._believed(session)) is not None:
            return _caller(account, Via.SESSION, SCOPES_OF[account.tier])
        return Caller(Tier.ANONYMOUS, address_subject(environ.get("REMOTE_ADDR", "")))

    def _by_key(self, text: str, environ: Mapping[str, Any]) -> Caller:
        facts = self._found(text, environ)
        if facts is None or facts.account.disabled:
            raise Refused("the API key is not valid")
        if facts.expires_at is not None and facts.expires_at <= self._now():
            raise Refused("the API key has expired")
        self._last_used.note(facts.id)
        scopes = facts.scopes & SCOPES_OF[facts.account.tier]
        return _caller(facts.account, Via.KEY, scopes, facts.id)

    def _found(self, text: str, environ: Mapping[str, Any]) -> KeyFacts | None:
        guesses = self._guesses
        if guesses is None:
            return self._keys.find(text)
        address = address_subject(environ.get("REMOTE_ADDR", ""))
        looked: list[None] = []

        def may_look() -> None:
            guesses.require(address)
            looked.append(None)

        facts = self._keys.find(text, may_look)
        if facts is None and looked:
            guesses.count(address)
        return facts

    def _believed(self, session: SessionFacts) -> Account | None:
        """Return the session's account if the session is of its epoch, however genuine it looks."""
        try:
            account = self._accounts.get(session.account)
        except UnknownAccount:
            return None
        return account if account.epoch == session.epoch and not account.disabled else None


def presented_key(environ: Mapping[str, Any]) -> str | None:
    """Return what a request presents as its API key, None if nothing.

    Raises:
        Refused: it presents two that differ.
    """
    given = environ.get("HTTP_X_API_KEY")
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        bearer = authorization[len(_BEARER) :].strip()
        if given is not None and given != bearer:
            raise Refused("X-API-Key and Authorization present different keys")
        given = bearer
    return given


def _caller(account: Account, via: Via, scopes: frozenset[str], key: int | None = None) -> Caller:
    return Caller(account.tier, f"account:{account.id}", via, account.id, account.name, scopes, key)
