"""The keys of the chain: derived from the service's secret keys, so that these can be rotated."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from shivx.audit.events import Event, Head, Row
from shivx.errors import ConfigurationError

_PERSON = b"shivx audit"
_ID_PERSON = b"shivx audit id"
_ID_BYTES = 4


class ChainKeys:
    """Signs with the newest key, checks with that which signed.

    What a key signed that is no longer listed cannot be checked; nor can it be forged by who has it.

    Args:
        secret_keys: newest first, at least one.
    Source: RFC 2104, with SHA-256; each key of 256 bits is a BLAKE2b hash of its secret.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        if not secret_keys:
            raise ConfigurationError("SHIVX_SECRET_KEYS: the audit needs one")
        self._keys: dict[str, bytes] = {}
        for secret in secret_keys:
            key = hashlib.blake2b(secret.encode(), digest_size=32, person=_PERSON).digest()
            self._keys[hashlib.blake2b(key, digest_size=_ID_BYTES, person=_ID_PERSON).hexdigest()] = key
        self.newest = next(iter(self._keys))

    def knows(self, key_id: str) -> bool:
        """Tell whether what the key *key_id* signed can be checked."""
        return key_id in self._keys

    def link(self, head: Head, event: Event) -> Row:
        """Return the row that comes after *head*."""
        number = head.number + 1
        mac = self._mac(self.newest, "row", number, head.mac, event)
        return Row(number, event, head.mac, self.newest, mac)

    def is_genuine(self, row: Row, number: int | None = None) -> bool:
        """Tell whether *row* is as it was signed, with *number* if not its own; its key must be known."""
        at = row.number if number is None else number
        return _is_same(self._mac(row.key_id, "row", at, row.previous, row.event), row.mac)

    def sign(self, purpose: str, content: object) -> str:
        """Return the newest key's id and mac of *content*, in one text."""
        return f"{self.newest}{self._mac(self.newest, purpose, content)}"

    def is_signed(self, purpose: str, content: object, signature: str) -> bool:
        """Tell whether *signature* is what `sign` returned, with any key that is known."""
        key_id, mac = signature[: 2 * _ID_BYTES], signature[2 * _ID_BYTES :]
        return self.knows(key_id) and _is_same(self._mac(key_id, purpose, content), mac)

    def _mac(self, key_id: str, *content: object) -> str:
        return hmac.digest(self._keys[key_id], msgspec.msgpack.encode(content), "sha256").hex()


def _is_same(mac: str, found: object) -> bool:
    """Tell whether *found*, in which somebody else may have put anything, is *mac*."""
    return isinstance(found, str) and found.isascii() and hmac.compare_digest(mac, found)
