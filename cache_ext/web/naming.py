"""Names made of what a caller gives: any text becomes a valid key or tag, and different text another."""

from __future__ import annotations

import hashlib
import re

from cache_ext.errors import ConfigurationError
from cache_ext.keys import MAX_NAME_BYTES, check_name

LONGEST_KEY_BYTES = 300
"""Longer keys cost more memory than their being readable is worth."""
READABLE = 120
"""Characters of a name that stay readable where the rest is a hash."""
_HASHED = re.compile(r"~[0-9a-f]{64}\Z")
_ODD = re.compile(r"[^\x20-\x7e]")


def fingerprint(text: str) -> str:
    """Return the SHA-256 of *text*, lone surrogates and all, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def safe_name(text: str, longest: int = MAX_NAME_BYTES) -> str:
    """Return *text* if it may name a key or tag, else a readable start of it and its hash.

    Text that looks like such a hash is hashed as well, so that nobody can choose another's name.

    Args:
        longest: bytes of UTF-8 up to which it stays as it is.
    """
    try:
        if len(check_name(text).encode()) <= longest and not _HASHED.search(text):
            return text
    except ConfigurationError:
        pass
    return f"{_ODD.sub('?', text)[:READABLE]}~{fingerprint(text)}"
