"""Entries to bytes and back. The bytes are hostile: whatever is wrong with them is a `PayloadError`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Raw

from cache_ext.codec.collisions import HARMLESS_BYTES
from cache_ext.codec.compression import compress, decompress
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import DECODE_FAILURES, ValueCodec
from cache_ext.entry import Entry, OpenEntry
from cache_ext.errors import PayloadError

FORMAT = 1
"""Version of the wire format that every program reads; new entries start with it."""
NEW_FORMAT = 2
"""Version of entries that use fields which format 1 has not. Readers refuse others, so that a rolling deploy
sees misses, never nonsense."""
TOKEN_BYTES = 8
TOKEN_AT = 4
"""Where the token starts in an encoded entry: after array header, format, and the two bytes of a bin 8
header. Scripts compare it there."""
_FIELDS = {FORMAT: 10, NEW_FORMAT: 14}
_HEADS = {bytes([0x90 + count, number, 0xC4, TOKEN_BYTES]): number for number, count in _FIELDS.items()}
"""How the bytes of each format start: an array of so many fields, the format, a bin of eight bytes."""
_LIGHT_BYTES = HARMLESS_BYTES + 256
"""What is shorter has a payload hardly longer than what is harmless, and may be decoded with it at once."""
_NOTHING = Raw(b"\xc0")
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What bytes that are no entry make the decoder raise."""


class EntryCodec:
    """Encodes and decodes entries; knows how their values travel and how sensitive ones are sealed.

    Args:
        values: how values travel.
        ring: seals the sensitive ones.
        max_bytes: of an encoded entry, and of its payload once it is decrypted and decompressed.
    """

    def __init__(self, values: ValueCodec, ring: KeyRing, max_bytes: int) -> None:
        self.values = values
        self._ring = ring
        self._max_bytes = max_bytes
        self._decoder = msgspec.msgpack.Decoder(Entry)
        self._opener = values.decoder_of(OpenEntry)
        self._light = min(_LIGHT_BYTES, max_bytes)

    def payload(self, value: Any) -> bytes:
        """Return *value* encoded. Raises UnsupportedValue."""
        return self.values.encode(value)

    def encode(self, entry: Entry, key: str) -> bytes:
        """Return the bytes under which *entry* is stored at *key*, whatever format it came by.

        Its payload is compressed if it asks for that and gets smaller, then encrypted if it is sealed.
        """
        payload, compressed = entry.payload, False
        if entry.compressed:
            small = _bin(compress(bytes(payload)))
            if len(small) < len(memoryview(payload)):
                payload, compressed = Raw(small), True
        newer = compressed or entry.failed or entry.as_of is not None or entry.etag
        entry = msgspec.structs.replace(
            entry, format=NEW_FORMAT if newer else FORMAT, payload=payload, compressed=compressed
        )
        if entry.sealed:
            sealed = _bin(self._ring.seal(bytes(payload), _credentials(entry, key)))
            entry = msgspec.structs.replace(entry, payload=Raw(sealed))
        return msgspec.msgpack.encode(_wire(entry))

    def excess(self, entry: Entry, blob: bytes) -> int:
        """Return how large *entry*, encoded as *blob*, is, if that is too much; else 0.

        Neither *blob* nor the plain payload may be larger than allowed: what would fit only while it is
        compressed is no less of a burden to those who read it.
        """
        size = max(len(blob), len(memoryview(entry.payload)))
        return size if size > self._max_bytes else 0

    def decode(self, blob: bytes, key: str) -> Entry:
        """Return the entry that was stored at *key*, its payload decrypted and decompressed.

        Raises:
            PayloadError: too large, another format, cut, forged, or not an entry at all.
        """
        if len(blob) > self._max_bytes:
            raise PayloadError(f"{len(blob)} bytes are more than an entry may have")
        if blob[:TOKEN_AT] not in _HEADS:
            raise PayloadError(f"not an entry of format {FORMAT} or {NEW_FORMAT}")
        try:
            entry = self._decoder.decode(blob)
        except _UNREADABLE as error:
            raise PayloadError(f"not an entry: {error}") from error
        if entry.sealed:
            text = self._ring.open(_unbin(entry), _credentials(entry, key))
            entry = msgspec.structs.replace(entry, payload=Raw(text))
        if entry.compressed:
            plain = decompress(_unbin(entry), self._max_bytes)
            entry = msgspec.structs.replace(entry, payload=Raw(plain))
        return entry

    def decode_open(self, blobs: Mapping[str, bytes]) -> dict[str, OpenEntry]:
        """Return, by key, the entries whose payload decodes along with them; `decode` tells of the others."""
        light = max(map(len, blobs.values()), default=0) <= self._light
        if light and {blob[:TOKEN_AT] for blob in blobs.values()} <= _HEADS.keys():
            with suppress(PayloadError, *DECODE_FAILURES):
                return dict(zip(blobs, map(self._opener.decode, blobs.values()), strict=True))
        return dict(self._one_by_one(blobs))

    def _one_by_one(self, blobs: Mapping[str, bytes]) -> Iterator[tuple[str, OpenEntry]]:
        for key, blob in blobs.items():
            try:
                if len(blob) > self._light:
                    yield key, self._opened(blob)
                elif blob[:TOKEN_AT] in _HEADS:
                    yield key, self._opener.decode(blob)
            except (PayloadError, *DECODE_FAILURES):
                continue

    def _opened(self, blob: bytes) -> OpenEntry:
        """Return a large entry; its payload is looked at before it is decoded. Raises PayloadError."""
        if len(blob) > self._max_bytes or blob[:TOKEN_AT] not in _HEADS:
            raise PayloadError("too large, or no entry")
        fields = msgspec.structs.asdict(self._decoder.decode(blob))
        tags = Raw(msgspec.msgpack.encode(fields["tags"]))
        return OpenEntry(**fields | {"tags": tags, "payload": self.values.decode(fields["payload"])})


def _bin(data: bytes) -> bytes:
    return msgspec.msgpack.encode(data)


def _unbin(entry: Entry) -> bytes:
    try:
        return msgspec.msgpack.decode(entry.payload, type=bytes)
    except (msgspec.MsgspecError, ValueError) as error:
        raise PayloadError(f"not a sealed or compressed payload: {error}") from error


def _wire(entry: Entry) -> tuple[Any, ...]:
    """Return the fields that the format of *entry* has."""
    return msgspec.structs.astuple(entry)[: _FIELDS[entry.format]]


def _credentials(entry: Entry, key: str) -> bytes:
    """Return all that *entry* says of itself, so that nobody can give a sealed one a new life."""
    return msgspec.msgpack.encode((key, _wire(msgspec.structs.replace(entry, payload=_NOTHING))))
