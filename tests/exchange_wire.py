"""What the dialects of the exchanges share: replies, and numbers as JSON with chosen digits."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.exchange_market import DAY_MS, Bar, Instrument

Query = Mapping[str, str]


class Reply(NamedTuple):
    """Status and body of an answer."""

    status: int
    body: Any


class Number(str):
    """Text that goes on the wire as a JSON number with just these digits."""


def to_json(value: Any) -> str:
    """Write *value* as JSON; a `Number` without quotes."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(to_json, value)) + "]"
    return json.dumps(value)


def day_of(item: Instrument, now: int) -> Bar:
    """Return the candle of the 24 hours before *now*."""
    return item.bar(now - DAY_MS, DAY_MS)


def rfc3339(at: int) -> str:
    """Write a time as RFC 3339 with microseconds."""
    moment = datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}000Z"


def as_number(text: str) -> Number:
    """Write a number as serialisers of floats do: no needless zeros, small ones with an exponent."""
    value = float(text)
    return Number(repr(value) if value < 1e-4 else text.rstrip("0").rstrip("."))
