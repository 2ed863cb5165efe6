"""Parameters of queries, each declared once: views read by it, and /openapi.json tells of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from blueprints.parameters import MAX_PAIRS, MAX_VALUE_CHARACTERS, Query
from shivx.cursors import MAX_CURSOR_CHARACTERS, PositionT
from shivx.models import TIMEFRAMES, Pair
from shivx.pairs import MAX_PAIR_CHARACTERS

T = TypeVar("T")
Schema = Mapping[str, Any]
PAIR_PATTERN = r"^[^\s/-]{1,32}-[^\s/-]{1,32}$"


@dataclass(frozen=True)
class Asked(Generic[T]):
    """A parameter of a query.

    Args:
        name: of it.
        says: what it means.
        schema: what it may be, in JSON Schema.
        read: reads it.
        required: it cannot be left out.
        example: what somebody might give.
    """

    name: str
    says: str
    schema: Schema
    read: Callable[[Query], T] = field(repr=False)
    required: bool = False
    example: str | None = None


def integer(name: str, says: str, *, default: int, low: int, high: int) -> Asked[int]:
    """Declare a whole number."""
    schema = {"type": "integer", "minimum": low, "maximum": high, "default": default}
    return Asked(name, says, schema, lambda query: query.integer(name, default=default, low=low, high=high))


def boolean(name: str, says: str) -> Asked[bool]:
    """Declare what is false unless it is given."""
    schema = {"type": "boolean", "default": False}
    return Asked(name, says, schema, lambda query: query.boolean(name, default=False))


def text(name: str, says: str, most: int = MAX_VALUE_CHARACTERS, example: str | None = None) -> Asked[Any]:
    """Declare text; None if it is not given."""
    schema = {"type": "string", "maxLength": most}
    return Asked(name, says, schema, lambda query: query.text(name, most), example=example)


def cursor(kind: type[PositionT]) -> Asked[PositionT | None]:
    """Declare the place where the page before ended."""
    schema = {"type": "string", "maxLength": MAX_CURSOR_CHARACTERS}
    return Asked("cursor", "`next` of the page before.", schema, lambda query: query.cursor(kind))


def pairs(low: int = 1, high: int = MAX_PAIRS) -> Asked[tuple[Pair, ...]]:
    """Declare a list of pairs."""
    most = (high + 1) * (MAX_PAIR_CHARACTERS + 1)
    schema = {"type": "string", "maxLength": most}
    says = f"{low} to {high} different pairs, separated by commas."
    read: Callable[[Query], tuple[Pair, ...]] = lambda query: query.pairs(low=low, high=high)  # noqa: E731
    return Asked("pairs", says, schema, read, required=True, example="BTC-USDC,ETH-USDC")


TIMEFRAME = Asked(
    "timeframe",
    "Length of a candle; `1m` is a minute.",
    {"type": "string", "enum": [*TIMEFRAMES], "default": "1h"},
    lambda query: query.timeframe(),
)
NUMBERS = Asked(
    "numbers",
    "How prices and amounts are written: the same digits, as JSON numbers or as strings.",
    {"type": "string", "enum": ["number", "string"], "default": "number"},
    lambda query: query.numbers(),
)
_MOMENT = {
    "oneOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0}],
}
PERIOD = (
    Asked("since", "RFC 3339 or Unix ms, inclusive.", _MOMENT, lambda query: query.time("since")),
    Asked("until", "RFC 3339 or Unix ms, exclusive.", _MOMENT, lambda query: query.time("until")),
)
"""Read together, by `Query.period`."""
SOURCE = "source"
"""One of those that are configured, which only the application knows; read by `Query.source`."""
