"""The codec of entries as the last release that knew only format 1 had it: frozen, never to be improved.

A rolling deploy runs both programs on one Redis. What is here reads and writes as that program did, so that
tests can tell what it makes of the bytes of this one, and this one of its.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from cache_ext.codec.entries import EntryCodec
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.entry import Entry, OpenEntry
from cache_ext.errors import PayloadError

MAX_MS = 10 * 365 * 86_400_000


class OlderEntry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An entry of format 1."""

    format: int
    token: bytes
    epoch: bytes
    loaded_at: int
    ttl: int
    stale_for: int
    load_time: int
    tags: tuple[tuple[str, bytes, int], ...]
    sealed: bool
    payload: Raw


class OlderCodec(EntryCodec):
    """Encodes and decodes entries as the older program did; to its caller they are entries of today."""

    def __init__(self, values: ValueCodec, ring: KeyRing, max_bytes: int) -> None:
        super().__init__(values, ring, max_bytes)
        self._older = msgspec.msgpack.Decoder(OlderEntry)

    def encode(self, entry: Entry, key: str) -> bytes:
        """Return the bytes under which *entry* is stored at *key*; it knows nothing of newer fields."""
        old = OlderEntry(*msgspec.structs.astuple(entry)[:10])
        if old.sealed:
            sealed = msgspec.msgpack.encode(self._ring.seal(bytes(old.payload), credentials(old, key)))
            old = msgspec.structs.replace(old, payload=Raw(sealed))
        return msgspec.msgpack.encode(old)

    def decode(self, blob: bytes, key: str) -> Entry:
        """Return the entry that was stored at *key*, or raise PayloadError."""
        if len(blob) > self._max_bytes:
            raise PayloadError(f"{len(blob)} bytes are more than an entry may have")
        try:
            old = self._older.decode(blob)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise PayloadError(f"not an entry: {error}") from error
        if old.format != 1 or len(old.token) != 8:
            raise PayloadError(f"format {old.format} is not 1")
        if not (0 < old.ttl <= MAX_MS and 0 <= old.stale_for <= MAX_MS and 0 <= old.load_time <= MAX_MS):
            raise PayloadError("a lifetime out of range")
        return Entry(*msgspec.structs.astuple(self._unsealed(old, key) if old.sealed else old))

    def decode_open(self, blobs: Mapping[str, bytes]) -> dict[str, OpenEntry]:
        """Return none: the older program decoded one by one."""
        return {}

    def _unsealed(self, old: OlderEntry, key: str) -> OlderEntry:
        try:
            sealed = msgspec.msgpack.decode(old.payload, type=bytes)
        except (msgspec.MsgspecError, ValueError) as error:
            raise PayloadError(f"not a sealed entry: {error}") from error
        return msgspec.structs.replace(old, payload=Raw(self._ring.open(sealed, credentials(old, key))))


def credentials(old: OlderEntry, key: str) -> bytes:
    """Return what the older program sealed a payload beside."""
    return msgspec.msgpack.encode((key, msgspec.structs.replace(old, payload=Raw(b"\xc0"))))


def made_older(cache: Any) -> Any:
    """Return *cache*, not yet started, with the codec that the older program had."""
    settings = cache.settings
    ring = KeyRing(settings.secret_keys, settings.namespace)
    cache._codec = OlderCodec(cache._values, ring, settings.max_entry_bytes)
    cache._begin()
    return cache
