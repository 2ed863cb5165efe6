"""What processes tell each other on a bucket's channel: one line of text and a msgpack list of names.

``kind:epoch:sequence:names``, where kind is one of

    i  tags were invalidated        s  tags were invalidated softly
    d  keys were deleted
    f  keys were filled (the epoch field carries the load's token)
    r  leases were released without a value
    e  the bucket's epoch was replaced
    h  events of these names were emitted (epoch and sequence say nothing)
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple, cast

import msgspec

from cache_ext.errors import PayloadError

Kind = Literal["i", "s", "d", "f", "r", "e", "h"]
NUMBERED = frozenset({"i", "s", "d", "e"})
"""Kinds that advance the sequence, so that a missing one is noticed."""
_names = msgspec.msgpack.Decoder(tuple[str, ...])


class Message(NamedTuple):
    """One change of a bucket. `stamp` is the epoch, or for ``f`` the token of the load."""

    kind: Kind
    stamp: bytes
    sequence: int
    names: tuple[str, ...]


def encode_names(names: Collection[str]) -> bytes:
    """Return the names part of a message; the scripts put the rest in front."""
    return msgspec.msgpack.encode(list(names))


def decode(data: bytes) -> Message:
    """Return the message that *data* is.

    Raises:
        PayloadError: it is none.
    """
    try:
        kind, stamp, sequence, names = data.split(b":", 3)
        if kind not in (b"i", b"s", b"d", b"f", b"r", b"e", b"h"):
            raise PayloadError(f"unknown kind of message {kind!r}")
        return Message(
            cast("Kind", kind.decode()), stamp, int(sequence), _names.decode(names) if names else ()
        )
    except (ValueError, msgspec.MsgspecError) as error:
        raise PayloadError(f"not a message: {error}") from error
