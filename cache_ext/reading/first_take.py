"""Handing out what was just decoded: to the first who takes it as it is, to others by way of copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cache_ext.codec.copies import hand_out
from cache_ext.codec.values import ValueCodec

Settle = Callable[[str, "FirstTake", Callable[[], Any], int], None]
"""Has a key's slot hand out by other means than a `FirstTake`; the last argument is the bytes these hold."""


class FirstTake:
    """Takes a slot's value for the first time: most of what comes from the shared store is taken once.

    Making a value fit to be copied again and again costs several times its decoding, so it is done when it
    is taken a second time.

    Args:
        key: of the slot.
        value: just decoded, nobody's yet.
        payload: the value encoded.
        values: the codec.
        settle: told how the value is handed out from the second time on.
    """

    __slots__ = ("_others", "_spare")

    def __init__(self, key: str, value: Any, payload: Any, values: ValueCodec, settle: Settle) -> None:
        self._spare = [value]
        self._others = key, payload, values, settle

    def __call__(self) -> Any:
        """Return the value; a copy of the caller's own, unless nobody can change it."""
        try:
            return self._spare.pop()
        except IndexError:
            key, payload, values, settle = self._others
        value = values.decode(payload)
        take, held_bytes = hand_out(values, value, payload)
        settle(key, self, take, held_bytes)
        return value
