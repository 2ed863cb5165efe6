"""What processes tell each other on a bucket's channel: one line of text and a msgpack list of names.

``kind:epoch:sequence:names``, where kind is one of

    i  tags were invalidated        s  tags were invalidated softly
    d  keys were deleted
    f  keys were filled (the epoch field carries the load's token)
    r  leases were released without a value
    e  the bucket's epoch was replaced (the names of the last bucket's say whether all were)
    h  events of these names were emitted (epoch and sequence say nothing)
    q  somebody asks what others know     a  the answer to a question (see `explain.inquiries`)
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple, cast

import msgspec

from cache_ext.coherence.reasons import UNKNOWN, By, read_signature
from cache_ext.errors import PayloadError
from cache_ext.events import Invalidated

Kind = Literal["i", "s", "d", "f", "r", "e", "h", "q", "a"]
_KINDS = frozenset({b"i", b"s", b"d", b"f", b"r", b"e", b"h", b"q", b"a"})
NUMBERED = frozenset({"i", "s", "d", "e"})
"""Kinds that advance the sequence, so that a missing one is noticed."""
EVERYTHING = ("*",)
_names = msgspec.msgpack.Decoder(tuple[str, ...])
_SIGNATURE = "\x01"
"""Begins the last of the names if that is none (names have no control characters) but says who sent it."""


class Message(NamedTuple):
    """One change of a bucket.

    Args:
        kind: what happened.
        stamp: the epoch, or for ``f`` the token of the load.
        sequence: the number of the change.
        names: of what it happened to.
        sender: the process that decided it; "" if it does not say.
        by: the same for people, with the reason.
    """

    kind: Kind
    stamp: bytes
    sequence: int
    names: tuple[str, ...]
    sender: str = ""
    by: By = UNKNOWN


def encode_names(names: Collection[str], sender: str = "") -> bytes:
    """Return the names part of a message, signed by *sender*; the scripts put the rest in front."""
    return msgspec.msgpack.encode([*names, _SIGNATURE + sender] if sender else list(names))


def decode(data: bytes) -> Message:
    """Return the message that *data* is.

    Raises:
        PayloadError: it is none.
    """
    try:
        kind, stamp, sequence, names = data.split(b":", 3)
        if kind not in _KINDS:
            raise PayloadError(f"unknown kind of message {kind!r}")
        found, sender, by = _names.decode(names) if names else (), "", UNKNOWN
        if found and found[-1].startswith(_SIGNATURE):
            sender, by = read_signature(found[-1].removeprefix(_SIGNATURE))
            found = found[:-1]
        return Message(cast("Kind", kind.decode()), stamp, int(sequence), found, sender, by)
    except (ValueError, msgspec.MsgspecError) as error:
        raise PayloadError(f"not a message: {error}") from error


def as_event(message: Message) -> Invalidated | None:
    """Return what users are told of *message*, which another process sent; None if nothing."""
    kind, names = message.kind, message.names
    if not names:
        return None
    if kind in ("i", "s"):
        return Invalidated(tags=names, soft=kind == "s", here=False)
    if kind == "d":
        return Invalidated(keys=names, here=False)
    if kind == "e" and names == EVERYTHING:
        return Invalidated(everything=True, here=False)
    return None
