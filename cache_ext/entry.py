"""What the cache keeps: a value's bytes, its lifetime and the versions it was made under."""

from __future__ import annotations

import enum
import secrets
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta, Raw, Struct

MAX_MS = 10 * 365 * 86_400_000
"""No ttl is longer than ten years."""
AS_OF_MS = range(-62_135_596_800_000, 253_402_300_800_000)
"""Times that data may have, Unix milliseconds: the years 1 to 9999, which a datetime can say."""


AsOf = Annotated[int, Meta(ge=AS_OF_MS.start, lt=AS_OF_MS.stop)]


class Missing(enum.Enum):
    """The type of `MISS`, so that type checkers can tell it from a value."""

    MISS = "MISS"

    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


MISS: Final = Missing.MISS
"""What `get` returns when there is no value; `None` is a value like any other."""


def new_stamp() -> bytes:
    """Return 8 random characters, 48 bits: the token of a load, or an epoch."""
    return secrets.token_urlsafe(6).encode()


class Version(NamedTuple):
    """The state of a tag: the epoch of its bucket and the sequence number that last invalidated it."""

    epoch: bytes
    counter: int


class Entry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A cached value with its credentials; on the wire a msgpack array of these fields, in this order.

    It counts only while its epoch and all its tags' versions equal the current ones, whoever asks, and
    wherever it lies. Times are integer milliseconds by the clock of Redis. In memory the payload is always
    plain; `sealed` and `compressed` say how it travels. The fields after the payload are those of wire
    format 2; an entry that uses none of them travels in format 1, which older programs read.
    """

    format: int  # of the wire it came by; how it goes is the codec's business
    token: bytes  # 8 random bytes: which load made it; scripts compare it at a fixed offset
    epoch: bytes  # of the key's own bucket
    loaded_at: int  # when its loader was called (of nested entries: the oldest)
    ttl: Annotated[int, Meta(gt=0, le=MAX_MS)]  # fresh for so long after loaded_at
    stale_for: Annotated[int, Meta(ge=0, le=MAX_MS)]  # and may serve, marked, for so long after that
    load_time: Annotated[int, Meta(ge=0, le=MAX_MS)]  # how long its loader took
    tags: tuple[tuple[str, bytes, int], ...]  # (tag, epoch, counter) as noted before the load
    sealed: bool  # the payload is an encrypted msgpack bin
    payload: Raw
    compressed: bool = False  # the payload, before it was sealed, is a msgpack bin with a zstd frame
    failed: bool = False  # the payload stands for an exception: loading fails, and so do those who ask
    as_of: AsOf | None = None  # Unix milliseconds: the time of the data itself, if they have one
    etag: str = ""  # the origin's name for this state of the data, "" if it has none

    @property
    def versions(self) -> dict[str, Version]:
        """The tags and the versions under which the value was made."""
        return {tag: Version(epoch, counter) for tag, epoch, counter in self.tags}


class OpenEntry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """An entry as it comes from the store, its payload decoded along with it; the fields are `Entry`'s.

    The payload is the value unless it is `sealed`, `compressed` or `failed`. The tags are left as bytes:
    they are as good to compare, and mostly nobody asks for more.
    """

    format: int
    token: bytes
    epoch: bytes
    loaded_at: int
    ttl: Annotated[int, Meta(gt=0, le=MAX_MS)]
    stale_for: Annotated[int, Meta(ge=0, le=MAX_MS)]
    load_time: Annotated[int, Meta(ge=0, le=MAX_MS)]
    tags: Raw
    sealed: bool
    payload: Any
    compressed: bool = False
    failed: bool = False
    as_of: AsOf | None = None
    etag: str = ""
