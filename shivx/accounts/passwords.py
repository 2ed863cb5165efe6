"""Passwords: argon2id, a few at a time, in the same time whether or not there is one to compare with."""

from __future__ import annotations

import base64
import secrets
import threading
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shivx.accounts.offload import off_hub
from shivx.errors import InvalidParameter, ShivxError

T = TypeVar("T")

MIN_CHARACTERS = 8
MAX_CHARACTERS = 1024
"""Nobody's password is longer, and hashing what is takes time."""
AT_ONCE = 2
"""Each takes 64 MiB and several threads."""
PATIENCE = 5.0
"""Seconds that one waits for its turn."""


class TooBusy(ShivxError):
    """So many passwords wait to be hashed that this one had no turn in time."""


class Passwords:
    """Hashes and compares. Neither the password nor its hash is in any error.

    Args:
        hasher: argon2id with the costs that new hashes have; by default those of RFC 9106 for little memory.
        patience: seconds that one waits for its turn.
    Source: RFC 9106, section 4; NIST SP 800-63B, section 3.1.1.
    """

    def __init__(self, hasher: PasswordHasher | None = None, patience: float = PATIENCE) -> None:
        self._hasher = hasher or PasswordHasher()
        self._patience = patience
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._nobodys = _nobodys_hash(self._hasher)

    def hash(self, password: str) -> str:
        """Return the hash of a new password.

        Raises:
            InvalidParameter: it is too short, too long or no text.
            TooBusy: it had no turn.
        """
        raw = _bytes_of(password) if MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS else None
        if raw is None:
            allowed = f"{MIN_CHARACTERS} to {MAX_CHARACTERS} characters"
            raise InvalidParameter("password", "malformed", allowed)
        return self._in_turn(lambda: self._hasher.hash(raw))

    def fits(self, password: str, kept: str | None) -> bool:
        """Tell whether *kept* is the hash of *password*. It takes as long where there is none.

        Raises:
            TooBusy: it had no turn.
        """
        raw = _bytes_of(password) if len(password) <= MAX_CHARACTERS else None
        compared = self._nobodys if kept is None or raw is None else kept
        return self._in_turn(lambda: self._verify(compared, raw or b""))

    def outdated(self, kept: str) -> bool:
        """Tell whether *kept* has other costs than new hashes."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, kept: str, raw: bytes) -> bool:
        try:
            return self._hasher.verify(kept, raw)
        except InvalidHashError:  # a damaged row must not be seen from outside
            return kept is not self._nobodys and self._verify(self._nobodys, raw)
        except VerificationError:
            return False

    def _in_turn(self, work: Callable[[], T]) -> T:
        if not self._turns.acquire(timeout=self._patience):
            raise TooBusy("too many passwords wait to be hashed")
        try:
            return off_hub(work)
        finally:
            self._turns.release()


def _bytes_of(password: str) -> bytes | None:
    """Return *password* in the form that all keyboards agree on (NFC), None if it is no text."""
    try:
        return unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        return None


def _nobodys_hash(hasher: PasswordHasher) -> str:
    """Return a hash, with the costs of *hasher*, that no password has; making it costs nothing."""
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${_base64(hasher.salt_len)}${_base64(hasher.hash_len)}"


def _base64(count: int) -> str:
    """Return *count* random bytes as argon2 writes them."""
    return base64.b64encode(secrets.token_bytes(count)).rstrip(b"=").decode()
