"""Logging in: whoever fails learns nothing but that he failed, and soon has to wait."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from shivx.accounts.accounts import Accounts, UnknownAccount
from shivx.accounts.facts import Account
from shivx.accounts.passwords import Passwords, TooBusy

PER_ACCOUNT = 10
"""Attempts a minute at one account, from wherever."""
PER_ADDRESS = 30
"""Attempts a minute from one address, at whichever accounts."""
WINDOW = 60.0
"""Seconds."""


class Decision(Protocol):
    """What a limiter answers; see `cache_ext.limits`."""

    @property
    def allowed(self) -> bool:
        """Whether it may be done."""

    @property
    def retry_after(self) -> float:
        """Seconds after which it may be done."""


class Limiter(Protocol):
    """Counts what each subject does."""

    def check(self, subject: str, limit: int, cost: int = 1, window: float = 60.0) -> Decision:
        """Tell whether *subject* may do one more, and count it if so."""


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """Why nobody was let in.

    Args:
        retry_after: seconds to wait, because there were too many attempts; None if name and password do not
            fit, whichever of them is wrong.
    """

    retry_after: float | None = None


class Login:
    """Compares names with passwords.

    Args:
        limiter: None to let everybody try as often as he likes, in tests.
    """

    def __init__(self, accounts: Accounts, passwords: Passwords, limiter: Limiter | None) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._limiter = limiter

    def verify(self, name: str, password: str, address: str) -> Account | LoginRefused:
        """Return the account that *name* and *password* open.

        What there is, what is not and what is disabled takes the same work: one query, one comparison.

        Args:
            address: whose attempts these are: ``address:203.0.113.7``, as `identity.Caller.subject` says it.
        Raises:
            DatabaseUnavailable: no usable answer.
        """
        if (refused := self._throttled(name, address)) is not None:
            return refused
        try:
            known = self._accounts.named(name)
        except UnknownAccount:
            known = None
        kept = None if known is None else known.password_hash
        try:
            fits = self._passwords.fits(password, kept)
            if known is None or kept is None or not fits or known.account.disabled:
                return LoginRefused()
            if self._passwords.outdated(kept):
                self._accounts.renew_hash(known, password)
        except TooBusy:
            return LoginRefused(retry_after=1.0)
        return known.account

    def _throttled(self, name: str, address: str) -> LoginRefused | None:
        """Count the attempt; tell if it is one too many. Names that do not exist count like those that do."""
        if self._limiter is None:
            return None
        digest = hashlib.sha256(name[:256].lower().encode(errors="replace")).hexdigest()
        for subject, limit in ((f"login:{address}", PER_ADDRESS), (f"login:account:{digest}", PER_ACCOUNT)):
            decision = self._limiter.check(subject, limit, window=WINDOW)
            if not decision.allowed:
                return LoginRefused(decision.retry_after)
        return None
