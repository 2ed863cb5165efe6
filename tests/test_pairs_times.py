"""Pairs, symbols, instants and cursors as clients write them."""

from __future__ import annotations

import sys
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shivx.cursors import decode_cursor, encode_cursor
from shivx.errors import InvalidParameter
from shivx.pairs import parse_pair, parse_symbol
from shivx.times import EPOCH, MAX_MS, MIN_MS_IN_DIGITS, format_time, parse_time

ALPHANUMERIC = [
    chr(point)
    for point in range(sys.maxunicode + 1)
    if not 0xD800 <= point <= 0xDFFF and unicodedata.normalize("NFC", chr(point)).isalnum()
]
SYMBOLS = st.text(st.sampled_from(ALPHANUMERIC) | st.characters(max_codepoint=0x250), max_size=40)
TIMES_IN_MS = st.integers(min_value=0, max_value=MAX_MS)


class Position(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Where a list goes on."""

    at: Annotated[int, msgspec.Meta(ge=0, le=MAX_MS)]
    id: str = ""


class OtherPosition(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """Where another list goes on."""

    at: int
    id: str = ""


def refusal(parse, text, *more):
    """Return the code with which *parse* refuses *text*."""
    with pytest.raises(InvalidParameter) as caught:
        parse(text, *more)
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("btc-usdc", "BTC-USDC"),
        ("1inch-Eur", "1INCH-EUR"),
        ("a-b", "A-B"),
        ("币安人生-usdt", "币安人生-USDT"),
        ("e\N{COMBINING ACUTE ACCENT}-x", "É-X"),
        ("straße-x", "STRASSE-X"),
        ("\N{KELVIN SIGN}-x", "K-X"),
        ("a" * 32 + "-" + "b" * 32, "A" * 32 + "-" + "B" * 32),
    ],
)
def test_pair_is_read_without_regard_to_case_and_composition(text, pair):
    """However a client writes a pair, it becomes the one upper-case, composed form."""
    assert parse_pair(text) == pair


@pytest.mark.parametrize(
    "text",
    [
        "",
        "BTC",
        "-",
        "BTC-",
        "-USDC",
        "BTC/USDC",
        "BTC_USDC",
        "BTC--USDC",
        "BTC-USDT-PERP",
        "BTC -USDC",
        " BTC-USDC",
        "BTC-USDC\n",
        "BTC-US\0C",
        "BTC\u2010USDC",
        "\ufffd-USDC",
        chr(0xD800) + "-USDC",
        "a" * 33 + "-b",
        "ß" * 17 + "-b",
        "a" * 1_000_000,
    ],
)
def test_what_is_no_pair_is_malformed(text):
    """Anything but two runs of 1-32 letters or digits (once upper-case) around one dash is refused."""
    assert refusal(parse_pair, text) == "malformed"


def test_parsing_is_stable_and_blind_to_case_for_every_character():
    """For each letter or digit that Unicode has, all its cases give one symbol, and that gives itself."""
    for character in ALPHANUMERIC:
        try:
            symbol = parse_symbol(character)
        except InvalidParameter:
            continue  # upper-casing makes it more than letters
        cases = (character.lower(), character.upper(), character.title(), character.swapcase(), symbol)
        assert {parse_symbol(case) for case in cases} == {symbol}, hex(ord(character))


@given(SYMBOLS, SYMBOLS)
def test_parsing_twice_is_parsing_once(base, quote):
    """A canonical pair is its own canonical form, composed, alphanumeric and within the limit."""
    try:
        pair = parse_pair(f"{base}-{quote}")
    except InvalidParameter:
        return
    assert parse_pair(pair) == pair == unicodedata.normalize("NFC", pair)
    assert all(1 <= len(side) <= 32 and side.isalnum() for side in pair.split("-"))


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        (str(MIN_MS_IN_DIGITS), MIN_MS_IN_DIGITS),
        (str(MAX_MS), MAX_MS),
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-22T19:01:14.123Z", 1795374074123),
        ("2026-11-22t19:01:14.123z", 1795374074123),
        ("2026-11-22 19:01:14Z", 1795374074000),
        ("2026-11-22T21:01:14+02:00", 1795374074000),
        ("2026-11-22T15:31:14-03:30", 1795374074000),
        ("2026-11-22T19:01:14-00:00", 1795374074000),
        ("2026-11-22T19:01:14.1Z", 1795374074100),
        ("2026-11-22T19:01:14.1239999999999999Z", 1795374074123),
        ("2016-12-31T23:59:60Z", 1483228800000),
        ("2017-01-01T01:59:60.25+02:00", 1483228800250),
        ("9999-12-31T23:59:59.999Z", MAX_MS),
    ],
)
def test_time_is_read_as_rfc_3339_or_unix_ms(text, ms):
    """RFC 3339 with any offset and fraction, leap seconds included, and Unix milliseconds are understood."""
    assert parse_time(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-22",
        "2026-11-22T19:01Z",
        "2026-11-22T19:01:14",
        "2026-11-22T19:01:14 02:00",
        "2026-11-22T19:01:14+0200",
        "2026-11-22T19:01:14+24:00",
        "2026-11-22T24:00:00Z",
        "2026-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2016-12-31T22:59:60Z",
        "2026-11-22T19:01:61Z",
        "2026-11-22T19:01:14,5Z",
        "2026-11-22T19:01:14.Z",
        "٢٠٢٦-11-22T19:01:14Z",
        "1.5",
        "1e12",
        "+1795374074000",
        " 1795374074000",
        "1_795_374_074_000",
        "٣",
        "0x10",
        "1795374074000\n",
    ],
)
def test_what_is_no_time_is_malformed(text):
    """No other form of a date or number is guessed at."""
    assert refusal(parse_time, text) == "malformed"


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "1",
        "1795374074",
        str(MIN_MS_IN_DIGITS - 1),
        str(MAX_MS + 1),
        "1795374074000000",
        "9" * 100_000,
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "9999-12-31T23:59:60Z",
    ],
)
def test_time_out_of_range_is_told(text):
    """Before 1970, after 9999, and digits that look like seconds or microseconds are out of range."""
    assert refusal(parse_time, text) == "out_of_range"


def test_a_plus_lost_in_a_url_is_explained():
    """Who forgets to encode the + of an offset is told so."""
    with pytest.raises(InvalidParameter, match="%2B"):
        parse_time("2026-11-22T19:01:14 02:00")


@given(TIMES_IN_MS)
def test_time_that_we_write_reads_back(ms):
    """`parse_time` undoes `format_time` for every instant."""
    text = format_time(ms)
    assert parse_time(text) == ms
    assert len(text) == len("2026-11-22T19:01:14.123Z")


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(9998, 1, 1)),
    st.integers(min_value=-1439, max_value=1439),
)
def test_any_offset_is_read_as_python_reads_it(moment, minutes):
    """An instant in any zone is the same instant in UTC, cut to milliseconds."""
    local = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_time(local.isoformat()) == (moment.replace(tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-1, "1970-01-01T00:00:00.000Z"), (10**18, "9999-12-31T23:59:59.999Z")],
)
def test_absurd_instants_become_the_nearest_that_can_be_written(ms, text):
    """A time that only a broken exchange could give does not break the answer."""
    assert format_time(ms) == text


@given(TIMES_IN_MS, st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_cursor_reads_back(at, name):
    """A cursor is URL-safe text that stands for exactly one position."""
    text = encode_cursor(Position(at, name))
    assert decode_cursor(text, Position) == Position(at, name)
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "é",
        "A",
        "AAAA",
        encode_cursor(Position(5)) + "=",
        encode_cursor(Position(5)) + "\n",
        encode_cursor(Position(5))[:-1],
        encode_cursor(Position(-5)),
        encode_cursor(Position(MAX_MS + 1)),
        encode_cursor(OtherPosition(5)),
        "WyJwIiwgNSwiIl0",  # the same JSON with a space in it
    ],
)
def test_what_we_never_wrote_is_no_cursor(text):
    """Other text, another list's cursor and other spellings of the same position are malformed."""
    assert refusal(decode_cursor, text, Position) == "malformed"


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_hostile_text_is_refused_and_nothing_else(text):
    """Whatever a client sends, the parsers return or raise `InvalidParameter`."""
    for parse, more in ((parse_pair, ()), (parse_time, ()), (parse_symbol, ()), (decode_cursor, (Position,))):
        with suppress(InvalidParameter):
            parse(text, *more)
