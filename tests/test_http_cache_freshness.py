"""How long a response is fresh and how old it is, clause by clause."""

from __future__ import annotations

import pytest

from cache_ext.http_cache.fields import Directives, joined
from cache_ext.http_cache.freshness import (
    HEURISTIC_MOST,
    age_value,
    explicit_lifetime,
    heuristic_lifetime,
    initial_age,
)

NOW = 784_111_777.0
DATE = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
IN_A_MINUTE = "Sun, 06 Nov 1994 08:50:37 GMT"
DAY_BEFORE = "Sat, 05 Nov 1994 08:49:37 GMT"


def lifetime(*headers: tuple[str, str]) -> float | None:
    """Return the explicit lifetime of a response with *headers*."""
    return explicit_lifetime(headers, Directives(joined(headers, "cache-control")), NOW)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("Cache-Control", "max-age=10, s-maxage=20"), ("Expires", IN_A_MINUTE)], 20.0),
        ([("Cache-Control", "max-age=10"), ("Expires", IN_A_MINUTE)], 10.0),
        ([("Cache-Control", "max-age=10"), ("Cache-Control", "s-maxage=20")], 20.0),
        ([("Cache-Control", "public"), ("Expires", IN_A_MINUTE), DATE], 60.0),
        ([("Cache-Control", "public")], None),
        ([], None),
    ],
)
def test_the_first_of_three_decides(headers: list[tuple[str, str]], expected: float | None) -> None:
    """RFC 9111, 4.2.1: s-maxage before max-age before Expires; without them the response does not say."""
    assert lifetime(*headers) == expected


@pytest.mark.parametrize("directive", ["s-maxage", "max-age"])
@pytest.mark.parametrize("value", ["x", "-5", "1.5", ""])
def test_an_unreadable_lifetime_is_none_at_all(directive: str, value: str) -> None:
    """RFC 9111, 4.2.1: invalid freshness information makes it stale; nothing of lower rank steps in."""
    assert lifetime(("Cache-Control", f"{directive}={value}"), ("Expires", IN_A_MINUTE)) == 0.0


@pytest.mark.parametrize("value", ["0", "-1", "soon", "Sun, 06 Nov 1994 08:50:37 PST"])
def test_an_invalid_expires_has_expired(value: str) -> None:
    """RFC 9111, 5.3: especially "0"."""
    assert lifetime(("Expires", value)) == 0.0


def test_expires_counts_from_the_date_of_the_response() -> None:
    """RFC 9111, 4.2.1: Expires less Date; without Date, less when it was received."""
    early = ("Date", "Sun, 06 Nov 1994 08:49:07 GMT")
    assert lifetime(("Expires", IN_A_MINUTE), early) == 90.0
    assert lifetime(("Expires", IN_A_MINUTE)) == 60.0
    assert lifetime(("Expires", IN_A_MINUTE), ("Date", "nonsense")) == 60.0
    assert lifetime(("Expires", DAY_BEFORE), DATE) == 0.0


def test_expires_that_contradict_each_other_have_expired() -> None:
    """RFC 9111, 4.2.1: of two Expires, consider the response stale; of twice the same, not."""
    assert lifetime(("Expires", IN_A_MINUTE), ("Expires", DAY_BEFORE)) == 0.0
    assert lifetime(("Expires", IN_A_MINUTE), ("Expires", IN_A_MINUTE)) == 60.0


def guess(status: int, *headers: tuple[str, str]) -> float | None:
    """Return the heuristic lifetime of a response."""
    return heuristic_lifetime(headers, Directives(joined(headers, "cache-control")), status, NOW)


CHANGED = ("Last-Modified", DAY_BEFORE)


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
def test_a_tenth_of_the_time_since_the_change(status: int) -> None:
    """RFC 9111, 4.2.2, and RFC 9110, 15.1: for statuses that are heuristically cacheable."""
    assert guess(status, CHANGED, DATE) == 8640.0


@pytest.mark.parametrize("status", [201, 302, 303, 307, 400, 403, 500, 503, 599])
def test_other_statuses_must_say_public(status: int) -> None:
    """RFC 9111, 4.2.2: no guess unless the response says that it is cacheable."""
    assert guess(status, CHANGED, DATE) is None
    assert guess(status, CHANGED, DATE, ("Cache-Control", "public")) == 8640.0


@pytest.mark.parametrize("value", ["yesterday", IN_A_MINUTE])
def test_no_guess_without_a_change_in_the_past(value: str) -> None:
    """RFC 9111, 4.2.2: no default lifetime where there is nothing to go by."""
    assert guess(200, ("Last-Modified", value), DATE) is None
    assert guess(200, DATE) is None


def test_a_guess_is_a_day_at_most() -> None:
    """RFC 9111, 4.2.2: nobody is told of a guess any more, so it stays short."""
    assert guess(200, ("Last-Modified", "Sun, 06 Nov 1904 08:49:37 GMT"), DATE) == HEURISTIC_MOST


@pytest.mark.parametrize(
    ("lines", "age"),
    [
        (["10"], 10),
        (["10, 20"], 10),
        (["10", "20"], 10),
        (["99999999999"], 2**31),
        (["-1"], 0),
        (["1.5"], 0),
        (["ten"], 0),
        (["ten, 10"], 0),
        (["10;x"], 0),
        ([""], 0),
        ([], 0),
    ],
)
def test_age_is_the_first_member_or_ignored(lines: list[str], age: int) -> None:
    """RFC 9111, 5.1: the first of a list counts; what is no number is ignored."""
    assert age_value([("Age", line) for line in lines]) == age


def test_a_response_is_at_least_as_old_as_it_says_and_as_its_date() -> None:
    """RFC 9111, 4.2.3: the larger of the apparent age, and of Age with the time that asking took."""
    assert initial_age([("Age", "10"), DATE], NOW, NOW) == 10
    assert initial_age([("Age", "10"), DATE], NOW - 2, NOW) == 12
    assert initial_age([DATE], NOW, NOW + 30) == 30
    assert initial_age([("Age", "5"), DATE], NOW + 29, NOW + 30) == 30
    assert initial_age([DATE], NOW - 100, NOW - 100) == 0
    assert initial_age([], NOW, NOW + 3) == 3
