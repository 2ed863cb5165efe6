"""Many `Digits` at once as JSON text: checked as a whole, since one by one would cost more than all else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from shivx.errors import OriginInvalid
from shivx.models import Digits

Numbers = Literal["number", "string"]
"""How prices and amounts stand in JSON: as numbers, or as strings with the same digits."""

_DIGITS = re.compile(r"(-?)0*([0-9]+(?:\.[0-9]+)?)\s*", re.ASCII)
_NUMERIC = b"0123456789.-,[]"
_DECODER = msgspec.json.Decoder(msgspec.Raw)


def number_text(digits: Digits) -> str:
    """Return *digits* as a JSON number: the same digits, without leading zeros, which JSON forbids.

    Raises:
        OriginInvalid: it is no fixed-notation decimal number.
    """
    match = _DIGITS.fullmatch(digits)
    if match is None:
        raise OriginInvalid("the exchange gave something that is no decimal number")
    return match[1] + match[2]


def scalar(digits: Digits | None, numbers: Numbers) -> msgspec.Raw | str | None:
    """Return *digits* for `msgspec.json.encode`; None stays None."""
    if digits is None:
        return None
    text = number_text(digits)
    return msgspec.Raw(text.encode()) if numbers == "number" else text


def rows(items: Sequence[tuple[int | Digits, ...]], width: int, numbers: Numbers) -> msgspec.Raw:
    """Return *items*, of *width* numbers each, as a JSON array of arrays.

    Integers stay JSON numbers whatever *numbers* says: they are times, not prices.

    Raises:
        OriginInvalid: something in *items* is no decimal number.
    """
    text = _join(items, "[" + ",".join(["%s"] * width) + "]")
    if not _is_clean(text, len(items), width):
        items = [tuple(_cleaned(item)) for item in items]
        text = _join(items, "[" + ",".join(["%s"] * width) + "]")
    if numbers == "string" and items:
        kinds = ["%s" if isinstance(value, int) else '"%s"' for value in items[0]]
        text = _join(items, "[" + ",".join(kinds) + "]")
    return msgspec.Raw(text.encode())


def _join(items: Iterable[tuple[int | Digits, ...]], template: str) -> str:
    return "[" + ",".join([template % item for item in items]) + "]"


def _is_clean(text: str, count: int, width: int) -> bool:
    """Tell whether the joined *text* is *count* rows of *width* JSON numbers in fixed notation.

    No character but those of numbers, no bracket or comma but our own, and valid JSON: together that
    leaves nothing else, at a fraction of the price of looking at each number.
    """
    data = text.encode()
    if data.translate(None, _NUMERIC):
        return False
    if data.count(b"[") != count + 1 or data.count(b",") != max(count * width - 1, 0):
        return False
    try:
        _DECODER.decode(data)
    except msgspec.DecodeError:
        return False
    return True


def _cleaned(item: tuple[int | Digits, ...]) -> Iterable[int | Digits]:
    return (value if isinstance(value, int) else number_text(value) for value in item)
