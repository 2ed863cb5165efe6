"""How a value held in memory is handed out, so that nobody can change it for others through his copy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import repeat
from typing import Any

from cache_ext.codec.values import ValueCodec

_FLAT = (dict, list, set)


def hand_out(values: ValueCodec, value: Any, payload: Any) -> tuple[Callable[[], Any], int]:
    """Return what gives out *value* again and again, and the bytes that it holds beside *payload*.

    What nobody can change is given itself. Of a dict, list or set of such things a shallow copy is as good
    as a deep one, and several times as fast as decoding. Everything else is decoded each time.

    Args:
        value: of the exact types that the codec keeps; it may be its maker's own.
        payload: *value* encoded.
    """
    if _is_fixed(values, value):
        return repeat(value).__next__, sys.getsizeof(value)
    if type(value) in _FLAT and all(map(values.is_shared, value)):
        if type(value) is not dict:
            own = value.copy()
            return own.copy, sys.getsizeof(own) + sum(map(sys.getsizeof, own))
        if all(map(values.is_shared, value.values())):
            own = value.copy()
            return own.copy, sys.getsizeof(own) + sum(map(sys.getsizeof, (*own, *own.values())))
    return values.decoding(payload), 0


def _is_fixed(values: ValueCodec, value: Any) -> bool:
    if type(value) in (tuple, frozenset):
        return all(map(values.is_shared, value))
    return values.is_shared(value)
