"""Session ids: what the client holds, and the hash of it that everybody else does."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass

from cache_ext.keys import BUCKETS, bucket_of

RANDOM_BYTES = 32
"""256 bits nobody can guess."""
_NAME_BYTES = 20
_TEXT = re.compile(r"[A-Za-z0-9_-]{44}", re.ASCII)
"""33 bytes in base64: each text stands for other bytes, so no session has two ids."""


@dataclass(frozen=True, slots=True, repr=False)
class SessionId:
    """One id.

    Args:
        text: what stands in the cookie: a byte that says in which bucket the session lies, 256 random bits.
        name: the hash of it: the session's name in Redis, and in lists of sessions.
        bucket: where the session lies: that of its account, so that one script reaches all sessions of it.
    """

    text: str
    name: str
    bucket: int

    @classmethod
    def make(cls, account: int | None, bucket: int | None = None) -> SessionId:
        """Return a new id.

        Args:
            account: whose session it is, None for nobody's.
            bucket: where it is to lie; by default with the others of the account, or anywhere.
        """
        if bucket is None:
            bucket = secrets.randbelow(BUCKETS) if account is None else account_bucket(account)
        return cls._of(bytes([bucket]) + secrets.token_bytes(RANDOM_BYTES))

    @classmethod
    def parse(cls, text: str) -> SessionId | None:
        """Return the id that a client sent, None if it cannot be one."""
        if not _TEXT.fullmatch(text):
            return None
        raw = base64.urlsafe_b64decode(text)
        return cls._of(raw) if raw[0] < BUCKETS else None

    @classmethod
    def _of(cls, raw: bytes) -> SessionId:
        name = hashlib.blake2b(raw, digest_size=_NAME_BYTES, person=b"cache_ext sid").hexdigest()
        return cls(base64.urlsafe_b64encode(raw).decode(), name, raw[0])


def account_bucket(account: int) -> int:
    """Return the bucket of the sessions of *account*."""
    return bucket_of(f"account:{account}")
