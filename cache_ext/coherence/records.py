"""The layout of the host's journal: a header of fixed size, and records of what was invalidated.

    header    magic · file · base · end · told · raised · lowered
    records   length · crc · msgpack of `Names`, from position `base` up to `end`

Positions only grow: what is at position p lies at byte ``HEADER_BYTES + p - base``. The records between
`told` and `end` have still to be told to the store. While `raised` and `lowered`, two random stamps, differ,
everything has been invalidated: that is how an overflow is noted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from cache_ext.entry import new_stamp
from cache_ext.errors import PayloadError

MAX_BYTES = 2**20
"""Of records; beyond that they become one: everything."""
BASE_AT, END_AT, TOLD_AT, RAISED_AT, LOWERED_AT = 16, 24, 32, 40, 48
_MAGIC = b"cachejn1"
_HEADER = struct.Struct("<8s8sQQQ8s8s")
HEADER_BYTES = _HEADER.size
_POSITION = struct.Struct("<Q")
_RECORD = struct.Struct("<II")


class Names(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What was invalidated: tags, keys, tags softly, or everything."""

    tags: set[str] = msgspec.field(default_factory=set)
    keys: set[str] = msgspec.field(default_factory=set)
    soft: set[str] = msgspec.field(default_factory=set)
    everything: bool = False

    def __len__(self) -> int:
        return len(self.tags) + len(self.keys) + len(self.soft) + self.everything

    def update(self, other: Names) -> None:
        """Add what *other* names."""
        self.tags |= other.tags
        self.keys |= other.keys
        self.soft |= other.soft
        self.everything |= other.everything


class Header(NamedTuple):
    """The state of a journal."""

    magic: bytes
    file: bytes
    base: int
    end: int
    told: int
    raised: bytes
    lowered: bytes


_decoder = msgspec.msgpack.Decoder(Names)


def new_header(overflown: bool) -> bytes:
    """Return the header of a journal without records, in which nothing was invalidated, or everything."""
    return _HEADER.pack(_MAGIC, new_stamp(), 0, 0, 0, new_stamp() if overflown else b"", b"")


def parse_header(raw: bytes) -> Header | None:
    """Return the header that *raw* is, None if it is damaged."""
    if len(raw) != HEADER_BYTES:
        return None
    header = Header(*_HEADER.unpack(raw))
    sound = header.magic == _MAGIC and header.base <= header.end >= header.told
    return header if sound and header.end - header.base <= MAX_BYTES else None


def encode_position(position: int) -> bytes:
    """Return *position* as the header has it."""
    return _POSITION.pack(position)


def encode_record(names: Names) -> bytes:
    """Return the record of *names*."""
    body = msgspec.msgpack.encode(names)
    return _RECORD.pack(len(body), zlib.crc32(body)) + body


def decode_records(data: bytes) -> Iterator[tuple[int, Names]]:
    """Yield what the records in *data* name, and after how many bytes each ends.

    Raises:
        PayloadError: one is torn or damaged.
    """
    at = 0
    while at < len(data):
        try:
            length, crc = _RECORD.unpack_from(data, at)
            at += _RECORD.size + length
            body = data[at - length : at]
            if at > len(data) or zlib.crc32(body) != crc:
                raise PayloadError("a record is damaged")
            names = _decoder.decode(body)
        except (struct.error, ValueError, msgspec.MsgspecError) as error:
            raise PayloadError(f"not a record: {error}") from error
        yield at, names
