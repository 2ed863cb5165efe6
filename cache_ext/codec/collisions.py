"""Refusing keys that were chosen to collide: a dict or set of them takes time that grows with its square.

Python's hashes of text and bytes are salted; those of numbers, UUIDs and tuples are not, so anyone can make a
hundred thousand of one hash. We write maps with plain keys only, which do not allow that, and all other dicts
and sets as lists inside an extension. So the former are refused if they have other keys, and of the latter
the hashes are looked at before they are put to use.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.msgpack import Decoder, Ext

from cache_ext.errors import PayloadError

HARMLESS_BYTES = 1024
"""What is shorter holds too few keys to matter."""
HARMLESS_KEYS = 64
FEW = 8
"""Comparisons for each key, on the average, that are taken for chance."""
_LARGE_MAPS = (0xDE, 0xDF)
_NOT_PLAIN = frozenset((*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)))
"""First bytes of maps, arrays and extensions, which are no keys of maps that we write."""
_SCALARS = bytes(
    {0xCC: 2, 0xD0: 2, 0xCD: 3, 0xD1: 3, 0xCA: 5, 0xCE: 5, 0xD2: 5, 0xCB: 9, 0xCF: 9, 0xD3: 9}.get(
        byte, byte - 0x9F if 0xA0 <= byte < 0xC0 else byte < 0x80 or byte >= 0xE0 or 0xC0 <= byte < 0xC4
    )
    for byte in range(256)
)
"""By first byte, how long a number, a short text, a boolean or nil is; 0 for everything else."""
_OTHERS = (
    {first + i: (1 << i, 0, 0) for first in (0xC4, 0xD9) for i in range(3)}  # bytes, text
    | {0xC7 + i: (1 << i, 1, 0) for i in range(3)}  # extensions
    | {0xD4 + i: (0, 1 + (1 << i), 0) for i in range(5)}  # extensions of fixed length
    | {first + i: (2 << i, 0, items) for first, items in ((0xDC, 1), (0xDE, 2)) for i in range(2)}
)
"""By first byte: the width of the number that follows, more bytes, and items for each of that number."""


def _ordinary(depth: int) -> Any:
    """Return the type of lists and maps, nested *depth* deep, with plain keys and no bytes."""
    keys: Any = None | bool | int | float | str
    inner: Any = keys | Ext
    for _ in range(depth):
        inner = keys | Ext | list[inner] | dict[keys, inner]
    return inner


_ORDINARY = Decoder(_ordinary(6))
"""Most payloads are so, which it sees seven times as fast as `_walk` does."""


def refuse_other_keys(packed: bytes | memoryview | Raw) -> None:
    """Raise PayloadError if a large map in *packed* has keys that are no plain values.

    Bodies of extensions are not looked into. What is no msgpack at all is left to the decoder to find.
    """
    data = bytes(packed)
    if any(map(data.__contains__, _LARGE_MAPS)):
        try:
            _ORDINARY.decode(data)
        except (msgspec.MsgspecError, ValueError):
            _walk(data)


def refuse_collisions(keys: Sequence[Any]) -> None:
    """Raise PayloadError if too many of *keys* share a hash; TypeError if one has none."""
    if len(keys) <= HARMLESS_KEYS or len(set(map(hash, keys))) == len(keys):
        return
    if sum(count * count for count in Counter(map(hash, keys)).values()) > FEW * len(keys):
        raise PayloadError("keys that were chosen to collide")


def _walk(data: bytes) -> None:
    """Visit all items of *data*, and see what the keys of its large maps are."""
    at, left, large, outside = 0, 1, False, list[tuple[int, bool]]()
    deepest = sys.getrecursionlimit()  # the encoder goes no deeper
    while at < len(data):
        byte = data[at]
        left -= 1  # and so odd at the keys of a map
        length = _SCALARS[byte]
        if not length:
            if large and left & 1 and byte in _NOT_PLAIN:
                raise PayloadError("a map with keys that no program of ours writes")
            length, items = _measure(data, at, byte)
            if items:
                outside.append((left, large))
                left, large = items, byte in _LARGE_MAPS
                if len(outside) > deepest:
                    raise PayloadError("nested too deeply")
        at += length
        while not left:
            if not outside:
                return
            left, large = outside.pop()


def _measure(data: bytes, at: int, byte: int) -> tuple[int, int]:
    """Return the length of what starts at *at*, of a container its head's, and how many items follow."""
    if byte < 0xA0:
        return 1, (byte & 15) * (1 if byte >= 0x90 else 2)
    width, more, items = _OTHERS[byte]
    number = int.from_bytes(data[at + 1 : at + 1 + width])
    return 1 + width + more + (0 if items else number), items * number
