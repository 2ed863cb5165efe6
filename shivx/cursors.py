"""The opaque text by which a list says where its next page begins."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from shivx.errors import InvalidParameter

MAX_CURSOR_CHARACTERS = 256

PositionT = TypeVar("PositionT", bound=msgspec.Struct)


def encode_cursor(position: msgspec.Struct) -> str:
    """Return *position* as URL-safe text.

    Each list has its own Struct, frozen, ``array_like=True`` (short) and with a ``tag`` of its own (so the
    cursor of one list is malformed for another).
    """
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def decode_cursor(text: str, kind: type[PositionT], parameter: str = "cursor") -> PositionT:
    """Return the position that `encode_cursor` made *text* from.

    It is input like any other: what its fields may hold is for *kind* to say (`msgspec.Meta`).

    Raises:
        InvalidParameter: *text* is not exactly what `encode_cursor` writes for some *kind*; ``malformed``.
    """
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        position = msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=kind)
    except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        position = None
    if position is None or encode_cursor(position) != text:
        raise InvalidParameter(parameter, "malformed", "a cursor is the `next` of an earlier answer")
    return position
