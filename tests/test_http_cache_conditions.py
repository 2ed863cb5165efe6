"""Conditions, ranges, codings and demands of requests, clause by clause."""

from __future__ import annotations

import gzip
import math

import brotli
import pytest

from cache_ext.http_cache.codings import IDENTITY, best_coding, encode_all
from cache_ext.http_cache.conditional import is_current, range_applies
from cache_ext.http_cache.ranges import Unsatisfiable, byte_range
from cache_ext.http_cache.request_rules import rules_of

CHANGED = "Sun, 06 Nov 1994 08:49:37 GMT"
CHANGED_AT = 784_111_777.0
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"


@pytest.mark.parametrize(
    ("sent", "tag", "current"),
    [
        ('"a"', '"a"', True),
        ('W/"a"', '"a"', True),
        ('"a"', 'W/"a"', True),
        ('"x", "a"', '"a"', True),
        ('"x","a"', '"a"', True),
        ('"a,b"', '"a,b"', True),
        ("*", '"a"', True),
        ("*", "", True),
        ('"b"', '"a"', False),
        ('"A"', '"a"', False),
        ("a", '"a"', False),
        ('w/"a"', '"a"', False),
        ('"a" "b"', '"a"', False),
        ('"a', '"a"', False),
        ("", '"a"', False),
        ('""', '""', True),
        ('"b"', "", False),
    ],
)
def test_if_none_match_compares_weakly(sent: str, tag: str, current: bool) -> None:
    """RFC 9110, 8.8.3.2 and 13.1.2: weakness does not count, what is malformed matches nothing."""
    assert is_current({"HTTP_IF_NONE_MATCH": sent}, tag, 0.0) is current


@pytest.mark.parametrize(
    ("sent", "current"), [(CHANGED, True), (LATER, True), (EARLIER, False), ("nonsense", False), ("", False)]
)
def test_if_modified_since(sent: str, current: bool) -> None:
    """RFC 9110, 13.1.3: not later than the date; what is no date is ignored."""
    assert is_current({"HTTP_IF_MODIFIED_SINCE": sent}, '"a"', CHANGED_AT) is current


def test_tags_go_before_dates() -> None:
    """RFC 9110, 13.1.3: with If-None-Match, If-Modified-Since does not count."""
    both = {"HTTP_IF_NONE_MATCH": '"b"', "HTTP_IF_MODIFIED_SINCE": LATER}
    assert not is_current(both, '"a"', CHANGED_AT)
    assert not is_current({}, '"a"', CHANGED_AT)


@pytest.mark.parametrize(
    ("sent", "tag", "applies"),
    [
        (None, '"a"', True),
        ('"a"', '"a"', True),
        ('"b"', '"a"', False),
        ('W/"a"', 'W/"a"', False),
        ('W/"a"', '"a"', False),
        (CHANGED, '"a"', True),
        (LATER, '"a"', False),
        (EARLIER, '"a"', False),
        ("nonsense", '"a"', False),
    ],
)
def test_if_range_compares_strongly(sent: str | None, tag: str, applies: bool) -> None:
    """RFC 9110, 13.1.5: the very same version, by strong tag or exact date."""
    assert range_applies(sent, tag, CHANGED, CHANGED_AT + 60) is applies


def test_a_date_of_the_same_second_is_weak() -> None:
    """RFC 9110, 8.8.2.2: it may have changed again within the second in which it was sent."""
    assert not range_applies(CHANGED, '"a"', CHANGED, CHANGED_AT)


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        ("bytes=0-4", (0, 5)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=0-100", (0, 10)),
        ("Bytes=9-9", (9, 10)),
        ("bytes=0-4, 6-7", None),
        ("bytes=4-0", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("items=0-4", None),
        ("bytes 0-4", None),
        ("", None),
        ("bytes=" + "1" * 99 + "-", None),
    ],
)
def test_one_range_is_given_and_all_else_ignored(value: str, bounds: tuple[int, int] | None) -> None:
    """RFC 9110, 14.1.2 and 14.2: ten bytes; a server may ignore Range."""
    assert byte_range(value, 10) == bounds


@pytest.mark.parametrize(
    ("value", "size"), [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=-1", 0)]
)
def test_what_lies_beyond_the_end_is_refused(value: str, size: int) -> None:
    """RFC 9110, 15.5.17: nothing of the range exists."""
    with pytest.raises(Unsatisfiable):
        byte_range(value, size)


ALL = ("br", "zstd", "gzip", IDENTITY)


@pytest.mark.parametrize(
    ("sent", "coding"),
    [
        ("", IDENTITY),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, br", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip, br;q=0.5", "gzip"),
        ("gzip;q=0.5, br;q=0.50", "br"),
        ("*", "br"),
        ("*, br;q=0", "zstd"),
        ("br;q=0", IDENTITY),
        ("identity", IDENTITY),
        ("identity, gzip;q=0.5", IDENTITY),
        ("gzip;q=0", IDENTITY),
        ("gzip;q=0.000", IDENTITY),
        ("gzip;q=2", IDENTITY),
        ("gzip;q=", IDENTITY),
        ("gzip;level=9", IDENTITY),
        ("deflate", IDENTITY),
        ("identity;q=0", IDENTITY),
    ],
)
def test_a_client_gets_the_coding_that_it_wants_most(sent: str, coding: str) -> None:
    """RFC 9110, 12.5.3: by weight, then ours; none that is refused, and what cannot be read is ignored."""
    assert best_coding(sent, ALL) == coding


def test_codings_are_the_same_bytes_decoded() -> None:
    """RFC 9110, 8.4: what is sent decodes to the body; small and incompressible bodies stay alone."""
    body = b'{"price": "1.0000"}' * 100
    made = encode_all(body)
    assert set(made) == set(ALL)
    assert gzip.decompress(made["gzip"]) == body
    assert brotli.decompress(made["br"]) == body
    assert made["gzip"] == encode_all(body)["gzip"], "the same each time, for it is behind a strong ETag"
    assert set(encode_all(b"short")) == {IDENTITY}
    assert set(encode_all(bytes(range(256)) * 3)) <= set(ALL)


@pytest.mark.parametrize(
    ("control", "age", "left", "takes"),
    [
        (None, 10.0, 5.0, True),
        ("max-age=10", 10.0, 5.0, True),
        ("max-age=9", 10.0, 5.0, False),
        ("max-age=0", 0.0, 5.0, False),
        ("max-age=x", 0.0, 5.0, False),
        ("min-fresh=5", 10.0, 5.0, True),
        ("min-fresh=6", 10.0, 5.0, False),
        ("no-cache", 0.0, 5.0, False),
        ("max-stale", 10.0, 5.0, True),
        ("only-if-cached", 10.0, 5.0, True),
    ],
)
def test_demands_on_what_is_fresh(control: str | None, age: float, left: float, takes: bool) -> None:
    """RFC 9111, 5.2.1.1 (max-age), 5.2.1.3 (min-fresh), 5.2.1.4 (no-cache)."""
    assert rules_of(control, None).takes_fresh(age, left) is takes


@pytest.mark.parametrize(
    ("control", "stale_for", "takes"),
    [
        (None, 1.0, False),
        ("max-stale", 1e6, True),
        ("max-stale=10", 10.0, True),
        ("max-stale=10", 11.0, False),
        ("max-stale=x", 1.0, False),
        ("max-stale=10, max-age=20", 5.0, False),
        ("max-stale=10, min-fresh=1", 5.0, False),
        ("max-stale, no-cache", 5.0, False),
    ],
)
def test_demands_on_what_is_stale(control: str | None, stale_for: float, takes: bool) -> None:
    """RFC 9111, 5.2.1.2: only max-stale takes it, and the other demands hold as well (it is 30 s old)."""
    assert rules_of(control, None).takes_stale(30.0, stale_for) is takes


def test_pragma_counts_without_cache_control_alone() -> None:
    """RFC 9111, 5.4: and says no-cache, nothing else."""
    assert rules_of(None, "no-cache").validate
    assert rules_of(None, "No-Cache, foo").validate
    assert not rules_of("max-age=60", "no-cache").validate
    assert not rules_of(None, "max-age=0").validate


def test_other_demands() -> None:
    """RFC 9111, 5.2.1.5 and 5.2.1.7; RFC 5861, 4."""
    rules = rules_of("no-store, only-if-cached, stale-if-error=7", None)
    assert (rules.no_store, rules.only_if_cached, rules.stale_if_error) == (True, True, 7.0)
    plain = rules_of(None, None)
    assert (plain.max_age, plain.stale_if_error) == (math.inf, None)
