"""Sessions as they lie in Redis: strict msgpack, sealed beside the name of the key they lie under."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Struct

from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.errors import PayloadError, UnsupportedValue

MAX_BYTES = 65_536
"""Of a session, sealed. More is no session, and is not stored."""
_KNOWN, _USUAL_BYTES = 1_024, 1_024
"""Sealed texts that are remembered opened, and the bytes of the longest of them."""
TOKEN_BYTES = 16
"""Key id and nonce, with which a sealed text begins: two writes never begin alike."""


class Record(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A session.

    Args:
        format: of this record.
        account: whose it is, None for nobody's.
        epoch: the account's when he signed in.
        created: Unix seconds, by the clock of Redis.
        seen: when it was last seen, likewise; noted now and then.
        device: what the client called itself.
        address: whence it came.
        data: what `flask.session` holds: each value as msgpack of its own, so that those that nobody changed
            can be told without decoding. Nobody changes it: those who read the same bytes share it.
    """

    format: Literal[1]
    account: int | None
    epoch: int
    created: float
    seen: float
    device: str
    address: str
    data: dict[str, bytes]


class RecordCodec:
    """Records to sealed bytes and back.

    Args:
        ring: seals.
        values: encodes what a session holds.
    """

    def __init__(self, ring: KeyRing, values: ValueCodec) -> None:
        self._ring = ring
        self._values = values
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Record).decode
        self._open_known = lru_cache(_KNOWN)(self._open)

    def seal(self, record: Record, key: str) -> bytes:
        """Return *record* for the Redis key *key*.

        Raises:
            UnsupportedValue: it is too large.
        """
        sealed = self._ring.seal(self._encode(record), key.encode())
        if len(sealed) > MAX_BYTES:
            raise UnsupportedValue(f"a session of {len(sealed)} bytes; {MAX_BYTES} is the most")
        return sealed

    def open(self, sealed: bytes, key: str) -> Record:
        """Return the record that was sealed for *key*: always the same one for the same bytes.

        Raises:
            PayloadError: it was not, or by nobody who has our keys.
        """
        return self._open_known(sealed, key) if len(sealed) <= _USUAL_BYTES else self._open(sealed, key)

    def _open(self, sealed: bytes, key: str) -> Record:
        if len(sealed) > MAX_BYTES:
            raise PayloadError("too large for a session")
        try:
            return self._decode(self._ring.open(sealed, key.encode()))
        except msgspec.MsgspecError as error:
            raise PayloadError(f"no session: {error}") from error

    def pack(self, content: dict[Any, Any]) -> dict[str, bytes]:
        """Return what a session holds, encoded value by value.

        Raises:
            UnsupportedValue: a key is no text, or a value cannot be kept exactly.
        """
        for key in content:
            if type(key) is not str:
                raise UnsupportedValue(f"a session's keys are text, not {type(key).__name__}")
        return {key: self._values.encode(value) for key, value in content.items()}

    def unpack(self, data: dict[str, bytes]) -> dict[str, Any]:
        """Return what `pack` was given.

        Raises:
            PayloadError: it was not made by `pack`, or by one that knew more types.
        """
        return {key: self._values.decode(value) for key, value in data.items()}
