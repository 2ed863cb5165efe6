"""Entries to bytes and back. The bytes are hostile: whatever is wrong with them is a `PayloadError`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.entry import Entry
from cache_ext.errors import PayloadError

FORMAT = 1
"""Version of the wire format; readers refuse others, so that a rolling deploy sees misses, never nonsense."""
TOKEN_BYTES = 8
TOKEN_AT = 4
"""Where the token starts in an encoded entry: after array header, format, and the two bytes of a bin 8
header. Scripts compare it there."""
MAX_MS = 10 * 365 * 86_400_000
"""No ttl is longer than ten years."""
_NOTHING = Raw(b"\xc0")


class EntryCodec:
    """Encodes and decodes entries; knows how their values travel and how sensitive ones are sealed."""

    def __init__(self, values: ValueCodec, ring: KeyRing, max_bytes: int) -> None:
        self.values = values
        self._ring = ring
        self._max_bytes = max_bytes
        self._decoder = msgspec.msgpack.Decoder(Entry)

    def payload(self, value: Any) -> bytes:
        """Return *value* encoded. Raises UnsupportedValue."""
        return self.values.encode(value)

    def encode(self, entry: Entry, key: str) -> bytes:
        """Return the bytes under which *entry* is stored at *key*; a sealed entry's payload is encrypted."""
        if entry.sealed:
            sealed = msgspec.msgpack.encode(self._ring.seal(bytes(entry.payload), _credentials(entry, key)))
            entry = msgspec.structs.replace(entry, payload=Raw(sealed))
        return msgspec.msgpack.encode(entry)

    def fits(self, blob: bytes) -> bool:
        """Tell whether *blob* is small enough to be stored."""
        return len(blob) <= self._max_bytes

    def decode(self, blob: bytes, key: str) -> Entry:
        """Return the entry that was stored at *key*, its payload decrypted.

        Raises:
            PayloadError: too large, another format, cut, forged, or not an entry at all.
        """
        if not self.fits(blob):
            raise PayloadError(f"{len(blob)} bytes are more than an entry may have")
        try:
            entry = self._decoder.decode(blob)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise PayloadError(f"not an entry: {error}") from error
        if entry.format != FORMAT or len(entry.token) != TOKEN_BYTES:
            raise PayloadError(f"format {entry.format} is not {FORMAT}")
        if not (
            0 < entry.ttl <= MAX_MS and 0 <= entry.stale_for <= MAX_MS and 0 <= entry.load_time <= MAX_MS
        ):
            raise PayloadError("a lifetime out of range")
        return self._opened(entry, key) if entry.sealed else entry

    def _opened(self, entry: Entry, key: str) -> Entry:
        try:
            sealed = msgspec.msgpack.decode(entry.payload, type=bytes)
        except (msgspec.MsgspecError, ValueError) as error:
            raise PayloadError(f"not a sealed entry: {error}") from error
        return msgspec.structs.replace(entry, payload=Raw(self._ring.open(sealed, _credentials(entry, key))))


def _credentials(entry: Entry, key: str) -> bytes:
    """Return all that *entry* says of itself, so that nobody can give a sealed one a new life."""
    return msgspec.msgpack.encode((key, msgspec.structs.replace(entry, payload=_NOTHING)))
