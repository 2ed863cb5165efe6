"""Handing out what was just decoded: to the first who takes it as it is, to others by way of copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from cache_ext.codec.copies import hand_out
from cache_ext.codec.values import ValueCodec

Settle = Callable[[str, "FirstTake", Callable[[], Any], int], None]
"""Has a key's slot hand out by other means than a `FirstTake`; the last argument is the bytes these hold."""


class FirstTake(Struct, eq=False):
    """Takes a slot's value for the first time: most of what comes from the shared store is taken once.

    Making a value fit to be copied again and again costs several times its decoding, so it is done when it
    is taken a second time.

    Args:
        key: of the slot.
        spare: the value, if it was decoded already and is nobody's yet; else nothing.
        payload: the value encoded.
        values: the codec.
        settle: told how the value is handed out from the second time on.
    """

    key: str
    spare: list[Any]
    payload: Any
    values: ValueCodec
    settle: Settle

    def __call__(self) -> Any:
        """Return the value; a copy of the caller's own, unless nobody can change it."""
        try:
            return self.spare.pop()
        except IndexError:
            value = self.values.decode(self.payload)
        take, held_bytes = hand_out(self.values, value, self.payload)
        self.settle(self.key, self, take, held_bytes)
        return value
