"""Field values are read strictly, and so that nothing odd makes a response fresher than it says."""

from __future__ import annotations

import time

import pytest

from cache_ext.http_cache.fields import (
    MOST_SECONDS,
    Directives,
    delta_seconds,
    http_date,
    joined,
    list_parts,
    tokens,
)

EPOCH_OF_EXAMPLE = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT."""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("max-age=60", 60),
        ("MAX-AGE=60", 60),
        ('max-age="60"', 60),
        ("max-age=060", 60),
        ("public , max-age=60,", 60),
        (",, max-age=60", 60),
        ("max-age=60, max-age=60", 60),
        ("max-age=0", 0),
        ("max-age=2147483648", MOST_SECONDS),
        ("max-age=99999999999999999999999", MOST_SECONDS),
        ("max-age=60, max-age=61", 0),
        ("max-age=-1", 0),
        ("max-age=+60", 0),
        ("max-age=60.5", 0),
        ("max-age=6e1", 0),
        ("max-age=0x3c", 0),
        ("max-age= 60", 0),
        ("max-age=60 seconds", 0),
        ("max-age='60'", 0),
        ("max-age=", 0),
        ("max-age", 0),
        ("max-age=6\u0660", 0),
        ("max-age=60;public", 0),
    ],
)
def test_lifetimes_are_whole_seconds_or_none_at_all(value: str, seconds: int) -> None:
    """RFC 9111, 1.2.2, 4.2.1, 5.2: quoted is read, overflow capped; unreadable or ambiguous is stale."""
    assert Directives(value).seconds("max-age") == seconds


def test_what_is_absent_says_nothing() -> None:
    """RFC 9111, 5.2: no directive, and none by that name, is neither zero nor stale."""
    assert Directives(None).seconds("max-age") is None
    assert Directives("public").seconds("max-age") is None
    assert Directives('foo="max-age=60"').seconds("max-age") is None
    assert Directives("x-max-age=60").seconds("max-age") is None


@pytest.mark.parametrize(
    "value",
    [
        "no-store",
        "No-Store",
        " no-store ",
        "no-store=1",
        "no-store =x",
        "foo, no-store",
        'foo="a, b", no-store',
        'foo="unterminated, no-store',
        'foo="\\", no-store',
    ],
)
def test_a_prohibition_counts_however_it_is_written(value: str) -> None:
    """RFC 9111, 5.2: names have no case; a quote that does not end hides nothing."""
    assert "no-store" in Directives(value)


def test_hostile_quotes_are_read_in_linear_time() -> None:
    """A field of escaped quotes without end costs no more than its length: seconds would be its square."""
    began = time.process_time()
    assert "no-store" in Directives('x="' + '\\"' * 100_000 + ", no-store")
    assert time.process_time() - began < 5.0


def test_what_is_quoted_is_no_directive() -> None:
    """RFC 9111, 5.2: the text of an argument is not a list of directives."""
    assert "no-store" not in Directives('foo="no-store", bar="a, no-store"')


@pytest.mark.parametrize(
    ("value", "fields", "covers_all"),
    [
        ('no-cache="set-cookie, X-Foo"', {"set-cookie", "x-foo"}, False),
        ("no-cache=set-cookie", {"set-cookie"}, False),
        ("no-cache", set(), True),
        ('no-cache="a b"', set(), True),
        ('no-cache=""', set(), True),
        ('no-cache="x-foo", no-cache', {"x-foo"}, True),
        ("public", set(), False),
    ],
)
def test_prohibitions_may_be_limited_to_fields(value: str, fields: set[str], covers_all: bool) -> None:
    """RFC 9111, 5.2.2.4: with field names it is about those; if they cannot be read, about all."""
    said = Directives(value)
    assert (said.fields("no-cache"), said.covers_all("no-cache")) == (fields, covers_all)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("00", 0),
        ("17", 17),
        ("", None),
        ("-1", None),
        ("1.0", None),
        (" 1", None),
        ("1" * 400, 2**31),
    ],
)
def test_delta_seconds(text: str, seconds: int | None) -> None:
    """RFC 9111, 1.2.2: digits alone, at most 2^31."""
    assert delta_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_dates_have_three_forms(text: str) -> None:
    """RFC 9110, 5.6.7: all three are read."""
    assert http_date(text) == EPOCH_OF_EXAMPLE


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-1",
        "",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 19944 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    """RFC 9110, 5.6.7, and RFC 9111, 5.3: "0" above all."""
    assert http_date(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "sun, 06 NOV 1994 08:49:37 gmt",
        "SUNDAY, 06-nov-94 08:49:37 Gmt",
        "SUN nOV  6 08:49:37 1994",
    ],
)
def test_names_in_dates_count_in_any_case(text: str) -> None:
    """RFC 9111, 4.2: though the grammar of dates tells them apart."""
    assert http_date(text) == EPOCH_OF_EXAMPLE


def test_a_leap_second_is_a_time() -> None:
    """RFC 9110, 5.6.7: second 60 is in the grammar."""
    assert http_date("Sat, 31 Dec 2016 23:59:60 GMT") == http_date("Sat, 31 Dec 2016 23:59:59 GMT")


def test_a_short_year_is_not_far_ahead() -> None:
    """RFC 9110, 5.6.7: two digits that would be more than 50 years ahead are of the last century."""
    late, early = http_date("Friday, 01-Jan-99 00:00:00 GMT"), http_date("Friday, 01-Jan-50 00:00:00 GMT")
    assert late is not None
    assert early is not None
    assert late < early


def test_lines_are_one_list() -> None:
    """RFC 9110, 5.3: several lines of a field are one, in order."""
    headers = [("Cache-Control", "public"), ("X", "y"), ("cache-control", "max-age=1")]
    assert joined(headers, "cache-control") == "public, max-age=1"
    assert joined(headers, "expires") is None


def test_commas_in_quotes_part_nothing() -> None:
    """RFC 9110, 5.6.1: list members are parted outside of quoted strings; empty ones do not count."""
    assert list(list_parts('a,, "b, c" , d="e,\\"f",')) == ["a", '"b, c"', 'd="e,\\"f"']
    assert tokens("Accept-Encoding , COOKIE") == {"accept-encoding", "cookie"}
    assert tokens("a b") is None
