"""Which responses may be stored, and which of their fields, clause by clause."""

from __future__ import annotations

import pytest

from cache_ext.http_cache.fields import Directives, joined
from cache_ext.http_cache.storing import judge, kept_fields

FRESH = ("Cache-Control", "max-age=60")


def refusal(status: int, *headers: tuple[str, str], credentials: tuple[str, ...] = ()) -> str:
    """Return why a response is not stored, "" if it is."""
    said = Directives(joined(headers, "cache-control"))
    return judge(status, headers, said, credentials=credentials).refusal


@pytest.mark.parametrize(
    "status", [200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 404, 410, 500, 503, 599]
)
def test_any_final_status_may_be_stored_if_it_says_how_long(status: int) -> None:
    """RFC 9111, 3: a final status code, and an explicit lifetime."""
    assert refusal(status, FRESH) == ""
    assert refusal(status, ("Expires", "Sun, 06 Nov 2094 08:49:37 GMT")) == ""


@pytest.mark.parametrize("status", [206, 304, 428, 429, 431, 511])
def test_some_statuses_are_never_stored(status: int) -> None:
    """RFC 9111, 3.3 and 4.3.4: no parts, no updates; RFC 6585: no 428, 429, 431, 511, whatever they say."""
    assert refusal(status, FRESH, ("Cache-Control", "public")) == "status"


@pytest.mark.parametrize(
    ("status", "stored"), [(200, True), (404, True), (201, False), (302, False), (500, False)]
)
def test_who_says_nothing_must_be_heuristically_cacheable(status: int, stored: bool) -> None:
    """RFC 9111, 3: or say public."""
    assert (refusal(status) == "") is stored
    assert refusal(status, ("Cache-Control", "public")) == ""


@pytest.mark.parametrize("directive", ["no-store", "private", "NO-STORE, max-age=60", "private, s-maxage=60"])
def test_prohibitions(directive: str) -> None:
    """RFC 9111, 3, 5.2.2.5 and 5.2.2.7: neither no-store nor private is stored where many share."""
    assert refusal(200, ("Cache-Control", directive)) != ""


def test_private_fields_are_left_out() -> None:
    """RFC 9111, 5.2.2.7: with field names, all but these is stored."""
    headers = [("Cache-Control", 'max-age=60, private="X-Mine"'), ("X-Mine", "1"), ("X-All", "2")]
    assert refusal(200, *headers) == ""
    kept = kept_fields(headers, Directives(headers[0][1]))
    assert [name for name, _ in kept] == ["Cache-Control", "X-All"]


def test_must_understand_overrides_no_store_where_it_is_understood() -> None:
    """RFC 9111, 5.2.2.3: a known status is stored in spite of no-store; an unknown one not even without."""
    both = ("Cache-Control", "must-understand, no-store, max-age=60")
    assert refusal(200, both) == ""
    assert refusal(599, both) == "must-understand"
    assert refusal(599, ("Cache-Control", "must-understand, max-age=60")) == "must-understand"


@pytest.mark.parametrize("directive", ["public", "s-maxage=60", "must-revalidate, max-age=60"])
def test_an_answer_to_authorization_is_stored_if_it_says_so(directive: str) -> None:
    """RFC 9111, 3.5: public, s-maxage or must-revalidate."""
    assert refusal(200, ("Cache-Control", directive), credentials=("authorization",)) == ""


@pytest.mark.parametrize("directive", ["max-age=60", "proxy-revalidate, max-age=60", "no-cache", "immutable"])
def test_an_answer_to_authorization_is_not_stored_otherwise(directive: str) -> None:
    """RFC 9111, 3.5: nothing else will do, though it may for the same request without."""
    headers = [("Cache-Control", directive)]
    verdict = judge(200, headers, Directives(directive), credentials=("authorization",))
    assert verdict.refusal == "authorization"
    assert verdict.for_others


@pytest.mark.parametrize("credential", ["cookie", "x-api-key"])
def test_other_credentials_need_public_or_s_maxage(credential: str) -> None:
    """Beyond RFC 9111, 3.5: what an answer to a cookie or key does not call public is its owner's."""
    assert refusal(200, ("Cache-Control", "must-revalidate, max-age=60"), credentials=(credential,)) != ""
    assert refusal(200, ("Cache-Control", "public, max-age=60"), credentials=(credential,)) == ""


def test_cookies_are_not_stored_unless_told() -> None:
    """RFC 9111, 7.3: a response that sets a cookie stays out, but for its cookie if that is named."""
    cookie = ("Set-Cookie", "id=1")
    assert refusal(200, FRESH, cookie) == "set-cookie"
    told = ("Cache-Control", 'max-age=60, no-cache="Set-Cookie"')
    assert refusal(200, told, cookie) == ""
    assert cookie not in kept_fields([told, cookie], Directives(told[1]))


@pytest.mark.parametrize("value", ["*", "Accept, *", " * "])
def test_what_varies_by_everything_is_not_stored(value: str) -> None:
    """RFC 9111, 4.1: a stored response with Vary: * matches no request."""
    assert refusal(200, FRESH, ("Vary", value)) == "vary"


def test_fields_of_the_connection_are_not_stored() -> None:
    """RFC 9111, 3.1: neither hop-by-hop fields nor those that Connection names, on any of its lines."""
    headers = [
        ("Connection", "close, X-Hop"),
        ("connection", "X-Other"),
        ("X-Hop", "1"),
        ("x-other", "2"),
        ("Keep-Alive", "5"),
        ("Transfer-Encoding", "chunked"),
        ("TE", "gzip"),
        ("Trailer", "x"),
        ("Upgrade", "h2c"),
        ("Proxy-Connection", "x"),
        ("Proxy-Authenticate", "x"),
        ("Proxy-Authentication-Info", "x"),
        ("Proxy-Authorization", "x"),
        ("X-Kept", "3"),
        FRESH,
    ]
    assert kept_fields(headers, Directives(FRESH[1])) == [("X-Kept", "3"), FRESH]


def test_fields_of_one_answer_are_not_stored() -> None:
    """Age is computed anew (RFC 9111, 5.1); ids, X-Cache and Cache-Status tell of one answer alone."""
    headers = [("Age", "3"), ("X-Cache", "HIT"), ("X-Request-ID", "a"), ("Cache-Status", "x; hit"), FRESH]
    assert kept_fields(headers, Directives(FRESH[1])) == [FRESH]
