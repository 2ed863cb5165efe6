"""Commands and replies as they go over the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hiredis

Command = Sequence[str | bytes | int]
_encode: Callable[[Any], bytes] = hiredis.pack_command  # whose stub allows one word only


class Prepared(tuple[Command, ...]):
    """Commands that are sent again and again; `wire` is what goes out for all of them."""

    wire: bytes
    route: Any = None
    """Where a cluster's way sends each, and as of when."""

    def __new__(cls, commands: Sequence[Command]) -> Prepared:
        """Encode *commands* once for all."""
        made = super().__new__(cls, commands)
        made.wire = pack(commands)
        return made


def pack(commands: Sequence[Command]) -> bytes:
    """Return *commands* in the Redis protocol."""
    return b"".join([_encode(tuple(command)) for command in commands])


def info_field(info: Any, name: bytes) -> str:
    """Return one field of an INFO reply, which is bytes, or text in RESP3's verbatim form."""
    text = info.encode() if isinstance(info, str) else bytes(info)
    for line in text.splitlines():
        key, _, value = line.partition(b":")
        if key.endswith(name):
            return value.strip().decode("ascii", "replace")
    return ""
