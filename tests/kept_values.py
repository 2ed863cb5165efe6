"""Values of all types that are kept, and a form of theirs whose equality means: the very same."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from markupsafe import Markup

ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=45)), ZoneInfo("Europe/Berlin")])
LARGEST = 2**64 - 1

KEYS = st.one_of(
    st.text(),
    st.integers(-(2**63), LARGEST),
    st.binary(),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False),
    st.dates(),
    st.uuids(),
    st.tuples(st.integers(0, 9), st.text()),
)
ATOMS = st.one_of(
    KEYS,
    st.floats(),
    st.decimals(allow_nan=True),
    st.datetimes(timezones=ZONES),
    st.times(),
    st.timedeltas(),
    st.text().map(Markup),
    st.builds(datetime.replace, st.datetimes(timezones=ZONES), fold=st.integers(0, 1)),
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(KEYS, inner),
        st.sets(KEYS),
        st.frozensets(KEYS),
    ),
    max_leaves=12,
)


def shape(value):
    """Return *value* in a form whose equality means: the same value of the same types, digit for digit."""
    kind = type(value)
    if kind is float:
        return kind, "nan" if math.isnan(value) else (value, math.copysign(1, value))
    if kind is Decimal:
        return kind, str(value)
    if kind in (list, tuple):
        return kind, [shape(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted((shape(item) for item in value), key=repr)
    if kind is dict:
        return kind, [(shape(key), shape(item)) for key, item in value.items()]
    if kind in (datetime, time):
        zone = value.tzinfo
        return kind, value.isoformat(), value.fold, type(zone), str(zone), value.tzname()
    return kind, value


DIFFICULT = [
    True,
    1,
    1.0,
    -0.0,
    math.nan,
    math.inf,
    -math.inf,
    LARGEST,
    -(2**63),
    Decimal("1.10"),
    Decimal("1E+5"),
    Decimal("-0"),
    Decimal("NaN"),
    Decimal("Infinity"),
    (1, [2, (3,)]),
    {(1, 2): {"x"}},
    {None: 1, 1.5: 2, b"b": 3},
    frozenset({frozenset({1})}),
    datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=1))),
    datetime.max,
    time(1, 2, 3, 4, fold=1),
    date.min,
    timedelta.max,
    timedelta.min,
    uuid.UUID(int=0),
    Markup("<b>"),
    "",
    b"",
    {},
    (),
    set(),
    Decimal("-sNaN12"),
    Decimal("1E+999999999"),
    Decimal("0E-999999"),
    Decimal("0." + "123456789" * 30),
    5e-324,
    1.7976931348623157e308,
    2**63,
    -1,
    {math.nan: math.nan, -0.0: math.inf},
    {True: 1, 2: False, "": None, b"": 0},
    {date(2024, 1, 1): {time(1): {Decimal("1.0"): {uuid.UUID(int=1): {(): 1}}}}},
    {datetime(2024, 1, 1, tzinfo=UTC): 1, timedelta(1): 2, Markup("x"): 3, frozenset({1}): 4},
    {1: {2: {3: [{4: ({5: {6}},)}]}}},
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
    datetime(2024, 1, 1, fold=1, tzinfo=timezone(timedelta(0), "Z")),
    time(1, 2, tzinfo=timezone(timedelta(hours=-3), "")),
    time(1, 2, tzinfo=timezone(timedelta(hours=-3, microseconds=7))),
    time(1, 2, tzinfo=ZoneInfo("Asia/Kathmandu")),
    datetime.min,
    datetime.max.replace(tzinfo=UTC),
    "\0\uffff\U0010ffff",
    b"\x93" * 300,
    [[[[[[[[[[[[]]]]]]]]]]]],
    "x" * 70_000,
]
"""The corners of each type."""
