"""Numbers from an exchange keep every digit, or are refused."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shivx.errors import OriginInvalid
from shivx.providers.ccxt_client import parse_exactly
from shivx.providers.ccxt_numbers import (
    change_percent,
    digits,
    moment,
    not_negative,
    pair_of,
    percent,
    positive,
    positive_or_none,
)

FIXED = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("65000.10", "65000.10"),
        ("1e-05", "0.00001"),
        ("1E-8", "0.00000001"),
        ("1.50e3", "1500"),
        ("12.345e1", "123.45"),
        ("12.345E+2", "1234.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("007.50", "7.50"),
        ("+3", "3"),
        ("-0.00", "0.00"),
        ("-2.5", "-2.5"),
        (0, "0"),
        (123456789012345678901234567890, "123456789012345678901234567890"),
    ],
)
def test_digits_become_fixed_notation_and_none_is_lost(given_text, expected):
    """Exponents are written out, needless signs and zeros in front go, all other digits stay."""
    assert digits(given_text, "x") == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**20), max_value=10**20))
def test_any_decimal_keeps_its_value(number):
    """Whatever way a number is written, its value is the same afterwards, and it is valid JSON."""
    for text in (str(number), f"{number:f}", f"{number:E}"):
        found = digits(text, "x")
        assert Decimal(found) == number
        assert FIXED.fullmatch(found)
        json.loads(found)


@given(st.text(max_size=100))
def test_any_text_is_a_number_or_refused(text):
    """No text makes anything but fixed-notation digits or OriginInvalid."""
    try:
        found = digits(text, "x")
    except OriginInvalid:
        return
    assert FIXED.fullmatch(found)
    assert len(found) <= 80


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        " ",
        "NaN",
        "nan",
        "inf",
        "-Infinity",
        "1e999",
        "1e-999",
        "0x10",
        "1_000",
        "1,5",
        "٣",
        "1 ",
        None,
        True,
        1.5,
        "9" * 81,
        "1e80",
        10**80,
        [],
        {},
        b"1",
        ".",
        "-",
        "e5",
    ],
)
def test_nonsense_is_no_number(nonsense):
    """NaN, infinity, empty, other scripts, floats and numbers of more than 80 digits are refused."""
    with pytest.raises(OriginInvalid):
        digits(nonsense, "x")


def test_signs_are_checked_by_value():
    """A price is above zero, a volume is not below it, however the zero is written."""
    for zero in ("0", "0.000", "-0", "0e5"):
        with pytest.raises(OriginInvalid):
            positive(zero, "x")
        assert Decimal(not_negative(zero, "x")) == 0
        assert positive_or_none(zero, "x") is None
    for below in ("-1", "-1e-9"):
        for check in (positive, not_negative, positive_or_none):
            with pytest.raises(OriginInvalid):
                check(below, "x")


def test_json_numbers_never_pass_through_a_float():
    """Fractions keep their text, whole numbers their value, and NaN is no JSON."""
    assert parse_exactly("[0.10, 1e-05, 12345678901234567890, 3]") == [
        "0.10",
        "1e-05",
        12345678901234567890,
        3,
    ]
    for bare in ("[NaN]", "[Infinity]", "[-Infinity]"):
        with pytest.raises(ValueError, match="no number"):
            parse_exactly(bare)


def test_percentages_are_finite():
    """A percentage is a finite float or nothing; absurd ones are refused."""
    assert percent("-1.25") == -1.25
    assert percent(None) is None
    assert change_percent("100", "110") == pytest.approx(10)
    assert change_percent(None, "110") is None
    for absurd in ("1e80", "NaN", "99999999"):
        with pytest.raises(OriginInvalid):
            percent(absurd)


@pytest.mark.parametrize("wrong", [None, "1700000000000", 0, -1, 10**15, 1_699_999_999.5, True])
def test_times_must_be_plausible(wrong):
    """A time is a whole number of ms between 2009 and tomorrow."""
    with pytest.raises(OriginInvalid):
        moment(wrong, 1_700_000_000_000, "x")


def test_pairs_are_named_in_upper_case_letters_and_digits():
    """Codes that a client could not write in an address are left out."""
    assert pair_of("sol", "usdc") == "SOL-USDC"
    assert pair_of("Ö".lower(), "1INCH") == "Ö-1INCH"
    assert pair_of("O\u0308", "USD") == "Ö-USD"
    for wrong in ("", "USDC.e", "A-B", "A B", "X" * 33, "A/B", "²", None, 5):
        assert pair_of(wrong, "USD") is None
