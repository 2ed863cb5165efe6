"""Guesses of API keys: counted by address, so that soon they no longer reach the database."""

from __future__ import annotations

from typing import Protocol

from shivx.errors import TooManyRequests

TOO_MANY = "Too many keys from this address were none. Retry-After says how many seconds to wait."


class Decision(Protocol):
    """What a limiter answers; see `cache_ext.limits`."""

    @property
    def remaining(self) -> int:
        """Units that are left."""

    @property
    def renews(self) -> int:
        """Seconds until the next unit frees."""


class Limiter(Protocol):
    """Counts what each subject does."""

    def check(self, subject: str, limit: int, cost: int = 1) -> Decision:
        """Take *cost* units of the subject's quota if they are there."""


class Guesses:
    """Counts, apart from requests, keys that were looked up in vain: who shares the address of one that
    asks much without a key keeps his own.

    Args:
        limit: look-ups in vain in any trailing 60 s, by address.
    """

    def __init__(self, limiter: Limiter, limit: int) -> None:
        self._limiter = limiter
        self._limit = limit

    def require(self, address: str) -> None:
        """Do nothing if *address* may have one more key looked up.

        Raises:
            TooManyRequests: too many from there were none.
        """
        decision = self._limiter.check(_subject(address), self._limit, cost=0)
        if decision.remaining < 1:
            raise TooManyRequests(TOO_MANY, retry_after=max(1, decision.renews))

    def count(self, address: str) -> None:
        """Note that a key from *address* was none."""
        self._limiter.check(_subject(address), self._limit)


def _subject(address: str) -> str:
    return f"guesses:{address}"
