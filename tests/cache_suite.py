"""What http-tests/cache-tests asks of every HTTP cache, as a table.

Source: https://github.com/http-tests/cache-tests by Mark Nottingham and others (results at cache-tests.fyi).
The questions are theirs, under their names; the words, the form and the answers are ours. Left out are those
to browsers and to caches that obey ``CDN-Cache-Control``; `DIFFERENT` has those that we answer otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Said = Sequence[tuple[str, str | int]]
"""Fields of a response; a number is the date of so many seconds from now."""
HOUR, DAY, LONG = 3600, 86_400, 100_000


class Ask(NamedTuple):
    """A request, and what is to come of it.

    Args:
        stored: whether what is stored answers it, be it after a 304 of the application.
        sent: its fields.
        says: the fields that the application answers with from now on; None: as before.
        status: of the application from now on; None: as before.
        later: seconds since the request before.
        code: of the answer; 0: any.
        gets: what the answer says; None: the field is absent.
        body: of the answer; None: not compared.
        asks: what the application is asked with; None: the field is absent.
    """

    stored: bool
    sent: Mapping[str, str] = {}
    says: Said | None = None
    status: str | None = None
    method: str = "GET"
    path: str = "/"
    later: float = 3.0
    code: int = 0
    gets: Mapping[str, str | int | None] = {}
    body: bytes | None = None
    asks: Mapping[str, str | None] = {}


KEPT, ASKED = (Ask(stored=True),), (Ask(stored=False),)
FRESH: Said = (("Cache-Control", "max-age=100000"), ("Last-Modified", 0), ("Date", 0))
ENDS: Said = (("Cache-Control", "max-age=2"), ("X-A", "1"))


class Scene(NamedTuple):
    """What the application says to a first request, and what is asked after that."""

    says: Said
    asks: Sequence[Ask] = KEPT
    status: str = "200 OK"
    sent: Mapping[str, str] = {}
    body: bytes | None = None


def control(value: str, asks: Sequence[Ask] = KEPT) -> Scene:
    """Return what a Cache-Control of *value* leads to."""
    return Scene((("Cache-Control", value),), asks)


def lines(*said: tuple[str, str | int], asks: Sequence[Ask] = KEPT) -> Scene:
    """Return what the fields *said* lead to."""
    return Scene(said, asks)


def aged(*ages: str, asks: Sequence[Ask] = KEPT) -> Scene:
    """Return what Age fields of these values lead to, in a response that is good for an hour."""
    return Scene((("Date", 0), ("Cache-Control", "max-age=3600"), *(("Age", age) for age in ages)), asks)


def expires(*values: str | int, asks: Sequence[Ask] = ASKED) -> Scene:
    """Return what Expires fields of these values lead to."""
    return Scene((*(("Expires", value) for value in values), ("Date", 0)), asks)


def tagged(etag: str, sent: str, code: int) -> Scene:
    """Return what If-None-Match, as *sent*, makes of a stored response with *etag*."""
    return Scene((*FRESH[:1], ("ETag", etag)), (Ask(stored=True, sent={"If-None-Match": sent}, code=code),))


def chosen(names: str, sent: Mapping[str, str], then: Mapping[str, str], *, stored: bool) -> Scene:
    """Return whether what was selected by *names* for a request is for another one too."""
    says = (("Cache-Control", "max-age=5000"), ("Last-Modified", -3000), ("Date", 0), ("Vary", names))
    return Scene(says, (Ask(stored=stored, sent=then),), sent=sent)


def validated(says: Said, **asks: str) -> tuple[Ask, ...]:
    """Return a request that comes when what is stored has ended, and what it leads to."""
    return (Ask(stored=True, says=says, status="304 Not Modified", asks=asks, code=200),)


FRESHNESS = {
    "freshness-none": Scene((), ASKED),
    "freshness-max-age": control("max-age=3600"),
    "freshness-max-age-stale": Scene(ENDS, ASKED),
    "freshness-max-age-0": control("max-age=0", ASKED),
    "freshness-max-age-max-minus-1": control("max-age=2147483647"),
    "freshness-max-age-max": control("max-age=2147483648"),
    "freshness-max-age-max-plus-1": control("max-age=2147483649"),
    "freshness-max-age-max-plus": control("max-age=99999999999"),
    "freshness-max-age-age": aged("7200", asks=ASKED),
    "freshness-max-age-date": lines(("Date", -7200), ("Cache-Control", "max-age=3600"), asks=ASKED),
    "freshness-max-age-expires": lines(("Cache-Control", "max-age=3600"), ("Expires", -7200), ("Date", 0)),
    "freshness-max-age-expires-invalid": lines(("Cache-Control", "max-age=3600"), ("Expires", "0")),
    "freshness-max-age-0-expires": lines(("Expires", HOUR), ("Cache-Control", "max-age=0"), asks=ASKED),
    "freshness-max-age-extension": control("foobar, max-age=3600"),
    "freshness-max-age-case-insenstive": control("MaX-aGe=3600"),
    "freshness-max-age-negative": control("max-age=-3600", ASKED),
    "freshness-s-maxage-shared": control("s-maxage=3600"),
    "freshness-max-age-s-maxage-shared-longer": control("max-age=3600, s-maxage=1", ASKED),
    "freshness-max-age-s-maxage-shared-longer-reversed": control("s-maxage=1, max-age=3600", ASKED),
    "freshness-max-age-s-maxage-shared-longer-multiple": lines(
        ("Cache-Control", "max-age=3600"), ("Cache-Control", "s-maxage=1"), asks=ASKED
    ),
    "freshness-max-age-s-maxage-shared-shorter": control("max-age=1, s-maxage=3600"),
    "freshness-max-age-s-maxage-shared-shorter-expires": lines(
        ("Expires", -10), ("Cache-Control", "max-age=0, s-maxage=3600")
    ),
    "freshness-expires-future": expires(30 * DAY, asks=KEPT),
    "freshness-expires-past": expires(-30 * DAY),
    "freshness-expires-present": expires(0),
    "freshness-expires-old-date": lines(("Expires", 300), ("Date", 400), asks=ASKED),
    "freshness-expires-invalid": expires("0"),
    "freshness-expires-invalid-date": lines(("Date", "foo"), ("Expires", 10)),
    "freshness-expires-age-slow-date": lines(("Date", -10), ("Expires", 10), ("Age", "25"), asks=ASKED),
    "freshness-expires-age-fast-date": lines(("Date", 10), ("Expires", 20), ("Age", "15"), asks=ASKED),
}

PARSING = {
    "freshness-max-age-quoted": control('max-age="3600"'),
    "freshness-max-age-ignore-quoted": control('extension="max-age=3600", max-age=1', ASKED),
    "freshness-max-age-ignore-quoted-rev": control('max-age=1, extension="max-age=3600"', ASKED),
    "freshness-max-age-space-before-equals": control("max-age =3600", ASKED),
    "freshness-max-age-space-after-equals": control("max-age= 3600", ASKED),
    "freshness-max-age-leading-zero": control("max-age=003600"),
    "freshness-max-age-single-quoted": control("max-age='3600'", ASKED),
    "age-parse-nonnumeric": aged("abc"),
    "age-parse-negative": aged("-7200"),
    "age-parse-float": aged("7200.0"),
    "age-parse-large-minus-one": aged("2147483647", asks=ASKED),
    "age-parse-large": aged("2147483648", asks=ASKED),
    "age-parse-larger": aged("2147483649", asks=ASKED),
    "age-parse-suffix": aged("7200, 0", asks=ASKED),
    "age-parse-prefix": aged("0, 7200"),
    "age-parse-suffix-twoline": aged("7200", "0", asks=ASKED),
    "age-parse-prefix-twoline": aged("0", "7200"),
    "age-parse-dup-0": aged("0, 0"),
    "age-parse-dup-0-twoline": aged("0", "0"),
    "age-parse-dup-old": lines(("Cache-Control", "max-age=10000"), ("Age", "3600"), ("Age", "3600")),
    "freshness-expires-32bit": expires("Tue, 19 Jan 2038 14:14:08 GMT", asks=KEPT),
    "freshness-expires-far-future": expires("Sun, 21 Nov 2286 04:46:39 GMT", asks=KEPT),
    "freshness-expires-rfc850": expires("Thursday, 18-Aug-50 02:01:18 GMT", asks=KEPT),
    "freshness-expires-ansi-c": expires("Thu Aug  8 02:01:18 2050", asks=KEPT),
    "freshness-expires-wrong-case-weekday": expires("THU, 18 Aug 2050 02:01:18 GMT", asks=KEPT),
    "freshness-expires-wrong-case-month": expires("Thu, 18 AUG 2050 02:01:18 GMT", asks=KEPT),
    "freshness-expires-wrong-case-tz": expires("Thu, 18 Aug 2050 02:01:18 gMT", asks=KEPT),
    "freshness-expires-invalid-utc": expires("Thu, 18 Aug 2050 02:01:18 UTC"),
    "freshness-expires-invalid-aest": expires("Thu, 18 Aug 2050 02:01:18 AEST"),
    "freshness-expires-invalid-2-digit-year": expires("Thu, 18 Aug 50 02:01:18 GMT"),
    "freshness-expires-invalid-no-comma": expires("Thu 18 Aug 2050 02:01:18 GMT"),
    "freshness-expires-invalid-multiple-spaces": expires("Thu, 18  Aug  2050 02:01:18 GMT"),
    "freshness-expires-invalid-date-dashes": expires("Thu, 18-Aug-2050 02:01:18 GMT"),
    "freshness-expires-invalid-time-periods": expires("Thu, 18 Aug 2050 02.01.18 GMT"),
    "freshness-expires-invalid-1-digit-hour": expires("Thu, 18 Aug 2050 2:01:18 GMT"),
    "freshness-expires-invalid-multiple-lines": expires(
        "Thu, 18 Aug 2050 02:01:18 GMT", "Thu, 18 Aug 2050 02:01:19 GMT"
    ),
}

_GUESSED = ("200 OK", "203 N", "204 N", "404 N", "405 M", "410 G", "414 U", "501 N")
_NOT_GUESSED = ("201 C", "202 A", "403 F", "502 B", "503 S", "504 G", "599 U")
_STATUSES = (200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599)
STATUSES = (
    {f"status-{code}-fresh": Scene(FRESH, status=f"{code} Some") for code in _STATUSES}
    | {
        f"status-{code}-stale": Scene(
            (("Expires", -5000), ("Last-Modified", -LONG), ("Date", 0)), ASKED, status=f"{code} Some"
        )
        for code in _STATUSES
    }
    | {
        f"heuristic-{status[:3]}-cached": Scene((("Last-Modified", -DAY), ("Date", 0)), status=status)
        for status in _GUESSED
    }
    | {
        f"heuristic-{status[:3]}-not_cached": Scene(
            (("Last-Modified", -DAY), ("Date", 0)), ASKED, status=status
        )
        for status in _NOT_GUESSED
    }
    | {
        f"heuristic-delta-{age}": Scene((("Last-Modified", -age), ("Date", 0)), KEPT if age > 30 else ASKED)
        for age in (5, 10, 30, 60, 300, 600, 1200, 1800, HOUR, 12 * HOUR, DAY)
    }
    | {
        "heuristic-599-cached": Scene(
            (("Last-Modified", -DAY), ("Date", 0), ("Cache-Control", "public")), status="599 Unknown"
        ),
        "status-599-must-understand": Scene(
            (("Cache-Control", "max-age=3600, no-store, must-understand"),), ASKED, status="599 Whatever"
        ),
        "status-200-must-understand": control("max-age=3600, no-store, must-understand"),
    }
)


def wants(value: str, *, stored: bool, says: Said = (("Cache-Control", "max-age=3600"),)) -> Scene:
    """Return whether what is stored serves a request with a Cache-Control of *value*."""
    return Scene(says, (Ask(stored, {"Cache-Control": value}),))


REQUESTS = {
    "ccreq-ma0": wants("max-age=0", stored=False),
    "ccreq-ma1": wants("max-age=1", stored=False),
    "ccreq-magreaterage": wants(
        "max-age=600", stored=False, says=(("Cache-Control", "max-age=3600"), ("Age", "1800"))
    ),
    "ccreq-max-stale": wants(
        "max-stale=1000", stored=True, says=(("Cache-Control", "max-age=2"), ("ETag", '"v"'))
    ),
    "ccreq-min-fresh": wants("min-fresh=4000", stored=False),
    "ccreq-min-fresh-age": wants(
        "min-fresh=1000", stored=False, says=(("Cache-Control", "max-age=1500"), ("Age", "1000"))
    ),
    "ccreq-no-cache": wants("no-cache", stored=False),
    "ccreq-no-cache-lm": Scene(
        (("Cache-Control", "max-age=3600"), ("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")),
        (
            Ask(
                stored=True,
                sent={"Cache-Control": "no-cache"},
                status="304 Not Modified",
                asks={"If-Modified-Since": "Thu, 01 Jan 2015 00:00:00 GMT"},
            ),
        ),
    ),
    "ccreq-no-cache-etag": Scene(
        (("Cache-Control", "max-age=3600"), ("ETag", '"abc"')),
        (
            Ask(
                stored=True,
                sent={"Cache-Control": "no-cache"},
                status="304 Not Modified",
                asks={"If-None-Match": '"abc"'},
            ),
        ),
    ),
    "ccreq-oic": Scene(
        (), (Ask(stored=False, sent={"Cache-Control": "only-if-cached"}, path="/none", code=504),)
    ),
    "pragma-request-no-cache": Scene(FRESH, (Ask(stored=False, sent={"Pragma": "no-cache"}),)),
    "pragma-request-extension": Scene(FRESH, (Ask(stored=True, sent={"Pragma": "unknown"}),)),
    "pragma-response-no-cache": lines(("Cache-Control", "max-age=3600"), ("Pragma", "no-cache")),
    "pragma-response-no-cache-heuristic": lines(("Last-Modified", -10_000), ("Pragma", "no-cache")),
    "pragma-response-extension": lines(("Cache-Control", "max-age=3600"), ("Pragma", "unknown")),
    "other-authorization": Scene((("Expires", 30 * DAY),), ASKED, sent={"Authorization": "Basic x"}),
    "other-authorization-public": Scene(
        (("Cache-Control", "max-age=3600, public"),), sent={"Authorization": "Basic x"}
    ),
    "other-authorization-must-revalidate": Scene(
        (("Cache-Control", "max-age=3600, must-revalidate"),), sent={"Authorization": "Basic x"}
    ),
    "other-authorization-smaxage": Scene(
        (("Cache-Control", "s-maxage=3600"),), sent={"Authorization": "Basic x"}
    ),
}

_OLD: Said = (("Cache-Control", "max-age=10000"), ("A", "1"))
_MUST = (("Cache-Control", "max-age=2, must-revalidate"), ("ETag", '"abcd"'))
RESPONSES = {
    "cc-resp-private-shared": control("private, max-age=3600", ASKED),
    "cc-resp-no-store": control("no-store", ASKED),
    "cc-resp-no-store-case-insensitive": control("No-StOrE", ASKED),
    "cc-resp-no-store-fresh": lines(
        ("Cache-Control", "max-age=10000, no-store"), ("Expires", 10_000), asks=ASKED
    ),
    "cc-resp-no-cache": lines(("Cache-Control", "max-age=10000, no-cache"), ("Expires", 10_000), asks=ASKED),
    "cc-resp-no-cache-case-insensitive": control("max-age=10000, No-CaChE", ASKED),
    "cc-resp-no-cache-revalidate": Scene(
        (("Cache-Control", "no-cache"), ("ETag", '"abcd"')),
        validated((("Cache-Control", "no-cache"), ("ETag", '"abcd"')), **{"If-None-Match": '"abcd"'}),
    ),
    "cc-resp-no-cache-revalidate-fresh": Scene(
        (("Cache-Control", "max-age=10000, no-cache"), ("ETag", '"abcd"')),
        validated((("Cache-Control", "no-cache"), ("ETag", '"abcd"')), **{"If-None-Match": '"abcd"'}),
    ),
    "headers-omit-headers-listed-in-Cache-Control-no-cache-single": lines(
        ("Cache-Control", 'no-cache="a"'),
        ("a", "1"),
        ("b", "2"),
        ("Cache-Control", "max-age=3600"),
        asks=(Ask(stored=True, gets={"a": None, "b": "2"}),),
    ),
    "headers-omit-headers-listed-in-Cache-Control-no-cache": lines(
        ("Cache-Control", 'no-cache="a, b"'),
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
        ("Cache-Control", "max-age=3600"),
        asks=(Ask(stored=True, gets={"a": None, "b": None, "c": "3"}),),
    ),
    "cc-resp-must-revalidate-fresh": lines(
        ("Cache-Control", "max-age=10000, must-revalidate"), ("ETag", '"abcd"')
    ),
    "cc-resp-must-revalidate-stale": Scene(
        _MUST, (Ask(stored=True, later=1), *validated(_MUST, **{"If-None-Match": '"abcd"'}))
    ),
    "stale-while-revalidate": lines(
        ("Cache-Control", "max-age=1, stale-while-revalidate=3600"), ("ETag", '"abc"')
    ),
    "stale-while-revalidate-window": Scene(
        (("Cache-Control", "max-age=1, stale-while-revalidate=4"), ("ETag", '"abc"')),
        (Ask(stored=False, later=6),),
    ),
    "stale-sie-503": Scene(
        (("Cache-Control", "max-age=2, stale-if-error=60"),), (Ask(stored=True, status="503 S", code=200),)
    ),
} | {
    f"stale-close-{name}": Scene(
        (("Cache-Control", f"max-age=2, stale-if-error=60, {name}"), ("ETag", '"v"')),
        (Ask(stored=False, status="503 S", code=503),),
    )
    for name in ("must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=2")
}

_BOTH = {"Foo": "1", "Bar": "abc"}
_THREE = {**_BOTH, "Baz": "789"}
VARY = {
    "vary-match": chosen("Foo", {"Foo": "1"}, {"Foo": "1"}, stored=True),
    "vary-no-match": chosen("Foo", {"Foo": "1"}, {"Foo": "2"}, stored=False),
    "vary-omit-stored": chosen("Foo", {}, {"Foo": "1"}, stored=False),
    "vary-omit": chosen("Foo", {"Foo": "1"}, {}, stored=False),
    "vary-invalidate": Scene(
        (("Cache-Control", "max-age=5000"), ("Vary", "Foo")),
        (
            Ask(stored=False, sent={"Foo": "2"}, body=b"answer 2"),
            Ask(stored=True, sent={"Foo": "1"}, body=b"answer 1"),
            Ask(stored=True, sent={"Foo": "2"}, body=b"answer 2"),
        ),
        sent={"Foo": "1"},
    ),
    "vary-cache-key": chosen("Foo", {"Foo": "1", "Other": "2"}, {"Foo": "1", "Other": "3"}, stored=True),
    "vary-2-match": chosen("Foo, Bar", _BOTH, _BOTH, stored=True),
    "vary-2-no-match": chosen("Foo, Bar", _BOTH, {**_BOTH, "Foo": "2"}, stored=False),
    "vary-2-match-omit": chosen("Foo, Bar", _BOTH, {}, stored=False),
    "vary-3-match": chosen("Foo, Bar, Baz", _THREE, _THREE, stored=True),
    "vary-3-no-match": chosen("Foo, Bar, Baz", _THREE, {**_THREE, "Foo": "2"}, stored=False),
    "vary-3-order": chosen("Foo, Bar, Baz", _THREE, {"Baz": "789", "Bar": "abcde", "Foo": "1"}, stored=False),
    "vary-3-omit": chosen(
        "Foo, Bar, Baz", {"Foo": "1", "Baz": "789"}, {"Foo": "1", "Baz": "789"}, stored=True
    ),
    "vary-normalise-combine": chosen("Foo", {"Foo": "1, 2"}, {"Foo": "1,2"}, stored=True),
    "vary-normalise-lang-case": chosen(
        "Accept-Language", {"Accept-Language": "en, de"}, {"Accept-Language": "eN, De"}, stored=True
    ),
    "vary-normalise-lang-space": chosen(
        "Accept-Language", {"Accept-Language": "en, de"}, {"Accept-Language": " en ,   de"}, stored=True
    ),
    "vary-normalise-space": chosen("Foo", {"Foo": "1,2"}, {"Foo": " 1, 2 "}, stored=True),
} | {
    f"vary-syntax-{name}": Scene(
        (("Cache-Control", "max-age=5000"), *(("Vary", value) for value in values)),
        (Ask(stored=False, sent={"Foo": "1", "Baz": "789"}),),
        sent={"Foo": "1", "Baz": "789"},
    )
    for name, values in {
        "star": ["*"],
        "star-star": ["*, *"],
        "star-star-lines": ["*", "*"],
        "empty-star": [", *"],
        "empty-star-lines": ["", "*"],
        "star-foo": ["*, Foo"],
        "foo-star": ["Foo, *"],
    }.items()
}

_LISTS = {
    "first": '"abcdef", "1234", "5678"',
    "second": '"1234", "abcdef", "5678"',
    "last": '"1234", "5678", "abcdef"',
}
_SINCE: Said = (("Cache-Control", "max-age=100000"), ("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT"))
CONDITIONS = {
    "conditional-etag-strong-respond": tagged('"abcdef"', '"abcdef"', 304),
    "conditional-etag-strong-respond-obs-text": tagged('"abcdef\xfc"', '"abcdef\xfc"', 304),
    "conditional-etag-weak-respond": tagged('W/"abcdef"', 'W/"abcdef"', 304),
    "conditional-304-etag": Scene(
        (*FRESH, ("ETag", '"abcdef"')),
        (Ask(stored=True, sent={"If-None-Match": '"abcdef"'}, code=304, gets={"ETag": '"abcdef"'}),),
    ),
    "conditional-etag-precedence": Scene(
        (*_SINCE, ("ETag", '"abcdef"')),
        (
            Ask(
                stored=True,
                sent={"If-None-Match": '"abcdef"', "If-Modified-Since": "Tue, 01 Jan 2019 00:00:00 GMT"},
                code=304,
            ),
        ),
    ),
    "conditional-etag-vary-headers": Scene(
        (("Cache-Control", "max-age=1"), ("ETag", '"abcdef"'), ("Vary", "Abc")),
        (
            Ask(
                stored=True,
                sent={"Abc": "123"},
                status="304 Not Modified",
                asks={"If-None-Match": '"abcdef"', "Abc": "123"},
            ),
        ),
        sent={"Abc": "123"},
    ),
    "conditional-etag-strong-generate": Scene(
        (*ENDS, ("ETag", '"abcdef"')), validated(ENDS, **{"If-None-Match": '"abcdef"'})
    ),
    "conditional-etag-weak-generate-weak": Scene(
        (*ENDS, ("ETag", 'W/"abcdef"')), validated(ENDS, **{"If-None-Match": 'W/"abcdef"'})
    ),
    "conditional-lm-fresh": Scene(
        _SINCE, (Ask(stored=True, sent={"If-Modified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"}, code=304),)
    ),
    "conditional-lm-fresh-earlier": Scene(
        _SINCE, (Ask(stored=True, sent={"If-Modified-Since": "Thu, 02 Jan 2020 00:00:00 GMT"}, code=304),)
    ),
    "conditional-lm-fresh-rfc850": Scene(
        _SINCE, (Ask(stored=True, sent={"If-Modified-Since": "Wednesday, 01-Jan-20 00:00:00 GMT"}, code=304),)
    ),
    "conditional-lm-stale": Scene(
        (("Cache-Control", "max-age=2"), ("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")),
        (
            Ask(
                stored=True,
                sent={"If-Modified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"},
                status="304 Not Modified",
                code=304,
                asks={"If-Modified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"},
            ),
        ),
    ),
} | {
    f"conditional-etag-strong-respond-multiple-{name}": tagged('"abcdef"', sent, 304)
    for name, sent in _LISTS.items()
}

_FIELDS = {
    "Test-Header": ("a", "b"),
    "X-Test-Header": ("a", "b"),
    "Content-Foo": ("a", "b"),
    "X-Content-Foo": ("a", "b"),
    "Cache-Control": ("max-age=2", "max-age=3600"),
    "Content-Location": ("/foo", "/bar"),
    "Content-MD5": ("rL0Y20zC+Fzt72VPzMSk2A==", "N7UdGUp1E+RbVvZSTy1R8g=="),
    "Content-Security-Policy": ("default-src 'self'", "default-src 'self' cdn.example.com"),
    "Content-Type": ("text/plain", "text/plain;charset=utf-8"),
    "Clear-Site-Data": ("cache", "cookies"),
    "Expires": ("Fri, 01 Jan 2038 01:01:01 GMT", "Mon, 11 Jan 2038 11:11:11 GMT"),
    "Public-Key-Pins": ("a", "b"),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": ("1", "1; mode=block"),
}
_OF_CONNECTION = (
    *("Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization"),
    *("Proxy-Connection", "TE", "Transfer-Encoding", "Upgrade"),
)


def _with(name: str, value: str) -> Said:
    """Return the fields of a response with *name*, which ends in two seconds."""
    fields = ((name, value), ("ETag", '"v"'))
    return fields if name == "Cache-Control" else (("Cache-Control", "max-age=2"), *fields)


FIELDS = (
    {
        f"headers-store-{name}": Scene(
            _with(name, values[0]), (Ask(stored=True, later=1, gets={name: values[0]}),)
        )
        for name, values in _FIELDS.items()
    }
    | {
        f"headers-store-{name}": Scene(_with(name, "some"), (Ask(stored=True, later=1, gets={name: None}),))
        for name in _OF_CONNECTION
    }
    | {
        f"headers-store-{name}": Scene(_with(name, value), (Ask(stored=True, later=1, gets={name: value}),))
        for name, value in {"Content-Encoding": "own", "Content-Range": "x", "Content-Length": "8"}.items()
    }
    | {
        f"304-etag-update-response-{name}": Scene(
            _with(name, values[0]),
            (
                Ask(
                    stored=True,
                    says=_with(name, values[1]),
                    status="304 Not Modified",
                    gets={name: values[1]},
                ),
                Ask(stored=True, later=1, gets={name: values[1]}),
            ),
        )
        for name, values in _FIELDS.items()
    }
    | {
        f"304-etag-update-response-{name}": Scene(
            _with(name, old),
            (
                Ask(stored=True, says=_with(name, new), status="304 Not Modified", gets={name: old}),
                Ask(stored=True, later=1, gets={name: old}),
            ),
        )
        for name, old, new in (("Content-Length", "8", "9"),)
    }
    | {
        "304-lm-use-stored-Test-Header": Scene(
            (*ENDS, ("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")),
            (Ask(stored=True, says=ENDS[:1], status="304 Not Modified", gets={"X-A": "1"}),),
        ),
        "headers-omit-headers-listed-in-Connection": lines(
            *FRESH,
            ("Connection", "a, b"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            asks=(Ask(stored=True, gets={"a": None, "b": None, "c": "3", "Connection": None}),),
        ),
    }
)

_TARGETS: Said = (("Location", "/target"), ("Content-Location", "/other"))
_METHODS = ("POST", "PUT", "DELETE", "M-SEARCH")
INVALIDATION = (
    {f"invalidate-{method}": Scene(FRESH, (Ask(stored=False, method=method), *ASKED)) for method in _METHODS}
    | {
        f"invalidate-{method}-failed": Scene(
            FRESH, (Ask(stored=False, method=method, status="500 Oh"), Ask(stored=True, status="200 OK"))
        )
        for method in _METHODS
    }
    | {
        f"invalidate-{method}-{name}": Scene(
            FRESH,
            (
                Ask(stored=False, path=path),
                Ask(stored=True, path=path),
                Ask(stored=False, method=method, path="/elsewhere", says=_TARGETS),
                Ask(stored=False, path=path, says=FRESH),
            ),
        )
        for method in _METHODS
        for name, path in (("location", "/target"), ("cl", "/other"))
    }
)

_BODY = b"01234567890"
_PARTS = {"": ("bytes=0-1", b"01"), "-no-last": ("bytes=1-", b"1234567890"), "-suffix": ("bytes=-1", b"0")}
OTHERS = {
    f"partial-store-complete-reuse-partial{name}": Scene(
        FRESH, (Ask(stored=True, sent={"Range": sent}, code=206, body=body),), body=_BODY
    )
    for name, (sent, body) in _PARTS.items()
} | {
    "partial-use-stored-headers": Scene(
        (*FRESH, ("A", "1")),
        (Ask(stored=True, sent={"Range": "bytes=0-1"}, code=206, body=b"01", gets={"A": "1"}),),
        body=_BODY,
    ),
    "other-age-gen": Scene(FRESH, (Ask(stored=True, gets={"Age": "3"}),)),
    "other-age-update-expires": lines(
        ("Expires", 30 * DAY), ("Date", 0), ("Age", "30"), asks=(Ask(stored=True, gets={"Age": "33"}),)
    ),
    "other-age-update-max-age": lines(
        ("Cache-Control", "max-age=600"), ("Age", "30"), asks=(Ask(stored=True, gets={"Age": "33"}),)
    ),
    "other-date-update": Scene(FRESH, (Ask(stored=True, gets={"Date": -3}),)),
    "other-date-update-expires": lines(
        ("Expires", 600), ("Date", 0), asks=(Ask(stored=True, gets={"Date": -3, "Expires": 597}),)
    ),
    "query-args-different": Scene(FRESH, (Ask(stored=False, path="/?test=2"),)),
    "query-args-same": Scene(FRESH, (Ask(stored=False, path="/?test=1"), Ask(stored=True, path="/?test=1"))),
    "other-heuristic-content-disposition-attachment": lines(
        ("Last-Modified", -LONG), ("Date", 0), ("Content-Disposition", "attachment; filename=example.txt")
    ),
    "other-fresh-content-disposition-attachment": lines(
        *FRESH, ("Content-Disposition", "attachment; filename=example.txt")
    ),
}

SAME = (
    FRESHNESS | PARSING | STATUSES | REQUESTS | RESPONSES | VARY | CONDITIONS | FIELDS | INVALIDATION | OTHERS
)
"""What we answer as they look for."""

_PART: Said = (("Cache-Control", "max-age=3600"), ("Content-Range", "bytes 5-9/10"))
_HEAD_ENDS = (
    Ask(stored=False, method="HEAD", asks={"REQUEST_METHOD": "GET"}),
    Ask(stored=True, body=b"answer 2"),
)
# Why we answer otherwise -> their name -> what we answer.
DIFFERENT: dict[str, dict[str, Scene]] = {
    "lifetimes that contradict each other, and numbers that are none, are stale (RFC 9111, 4.2.1)": {
        **{
            f"freshness-max-age-two-{name}": Scene(tuple(("Cache-Control", value) for value in values), ASKED)
            for name, values in {
                "fresh-stale-sameline": ["max-age=1800, max-age=1"],
                "fresh-stale-sepline": ["max-age=1800", "max-age=1"],
                "stale-fresh-sameline": ["max-age=1, max-age=1800"],
                "stale-fresh-sepline": ["max-age=1", "max-age=1800"],
            }.items()
        },
        "freshness-max-age-decimal-zero": control("max-age=3600.0", ASKED),
        "freshness-max-age-decimal-five": control("max-age=3600.5", ASKED),
        "freshness-max-age-a100": control("max-age=a3600", ASKED),
        "freshness-max-age-100a": control("max-age=3600a", ASKED),
    },
    "an Age with a parameter is invalid, and ignored (5.1)": {
        "age-parse-parameter": aged("7200;foo=bar"),
        "age-parse-numeric-parameter": aged("7200;foo=111"),
    },
    "what is not quoted, or has no proper W/, is no entity tag: it matches nothing and is not sent on": {
        "conditional-etag-quoted-respond-unquoted": tagged('"abcdef"', "abcdef", 200),
        "conditional-etag-unquoted-respond-unquoted": tagged("abcdef", "abcdef", 200),
        "conditional-etag-unquoted-respond-quoted": tagged("abcdef", '"abcdef"', 200),
        "conditional-etag-weak-respond-lowercase": tagged('w/"abcdef"', 'w/"abcdef"', 200),
        "conditional-etag-weak-respond-backslash": tagged('W\\"abcdef"', 'W\\"abcdef"', 200),
        "conditional-etag-weak-respond-omit-slash": tagged('W"abcdef"', 'W"abcdef"', 200),
        "conditional-etag-strong-generate-unquoted": Scene(
            (*ENDS, ("ETag", "abcdef")), (Ask(stored=False, asks={"If-None-Match": None}),)
        ),
    },
    "the application is asked for the whole, which is stored for all; the condition is judged here": {
        "conditional-etag-forward": Scene(
            FRESH,
            (Ask(stored=False, path="/b", sent={"If-None-Match": '"a"'}, asks={"If-None-Match": None}),),
        ),
        "conditional-etag-forward-unquoted": Scene(
            FRESH, (Ask(stored=False, path="/b", sent={"If-None-Match": "a"}, asks={"If-None-Match": None}),)
        ),
    },
    "the validators of other choices are not sent (4.3.1 lets a cache send them)": {
        "conditional-etag-vary-headers-mismatch": Scene(
            (("Cache-Control", "max-age=10000"), ("ETag", '"abcdef"'), ("Vary", "Abc")),
            (Ask(stored=False, sent={"Abc": "456"}, asks={"If-None-Match": None}),),
            sent={"Abc": "123"},
        ),
    },
    "without Last-Modified the response's Date stands in, and it is later (4.3.2)": {
        "conditional-lm-fresh-no-lm": Scene(
            FRESH[:1],
            (Ask(stored=True, sent={"If-Modified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"}, code=200),),
        ),
    },
    "the order of languages may mean something to the application, and which it would choose only it knows": {
        "vary-normalise-lang-order": chosen(
            "Accept-Language", {"Accept-Language": "en, de"}, {"Accept-Language": "de, en"}, stored=False
        ),
        "vary-normalise-lang-select": chosen(
            "Accept-Language",
            {"Accept-Language": "en, de"},
            {"Accept-Language": "fr;q=0.5, de"},
            stored=False,
        ),
    },
    "parts are not stored (3.3 lets a cache store them)": {
        f"partial-store-partial-{name}": Scene(
            _PART,
            (Ask(stored=False, sent={"Range": sent}, asks={"Range": sent}),),
            status="206 Partial Content",
            sent={"Range": "bytes=-5"},
        )
        for name, sent in {
            "reuse-partial": "bytes=-5",
            "reuse-partial-byterange": "bytes=6-8",
            "reuse-partial-absent": "bytes=6-",
            "reuse-partial-suffix": "bytes=-1",
        }.items()
    },
    "nothing stale serves in place of an error unless the response allows it": {
        "stale-close": Scene(ENDS, (Ask(stored=False, status="503 S", code=503),)),
        "stale-503": Scene(ENDS, (Ask(stored=False, status="503 S", code=503),)),
    },
    "an answer to POST is not stored": {
        "method-POST": Scene(
            FRESH,
            (Ask(stored=False, method="POST", path="/b"), Ask(stored=False, path="/b")),
            status="200 OK",
        ),
    },
    "cookies tell callers apart: an answer that sets one, or that one was sent for, is shared with nobody": {
        "other-set-cookie": lines(*FRESH, ("Set-Cookie", "a=b"), asks=ASKED),
        "other-cookie": Scene(FRESH, (Ask(stored=False, sent={"Cookie": "a=b"}),)),
        "headers-store-Set-Cookie": lines(*FRESH, ("Set-Cookie", "a=b"), asks=ASKED),
        "headers-store-Set-Cookie2": lines(
            *FRESH, ("Set-Cookie2", "a=b"), asks=(Ask(stored=True, gets={"Set-Cookie2": None}),)
        ),
    },
    "a HEAD of what has ended asks as a GET: what comes replaces all that was stored, the body too (4.3.5)": {
        "head-writethrough": Scene(ENDS, _HEAD_ENDS[:1]),
        "head-200-retain": Scene(
            ENDS, (Ask(stored=False, method="HEAD", says=ENDS[:1], gets={"X-A": None}),)
        ),
        "head-200-freshness-update": Scene(
            ENDS, (Ask(stored=False, method="HEAD", says=FRESH), *_HEAD_ENDS[1:])
        ),
        "head-200-update": Scene(
            ENDS,
            (
                Ask(stored=False, method="HEAD", says=(*FRESH, ("X-A", "2"))),
                Ask(stored=True, body=b"answer 2", gets={"X-A": "2"}),
            ),
        ),
        "head-410-update": Scene(
            ENDS,
            (
                Ask(stored=False, method="HEAD", says=(*FRESH, ("X-A", "2")), status="410 Gone"),
                Ask(stored=True, body=b"answer 2", code=410, gets={"X-A": "2"}),
            ),
        ),
    },
    "codings are made of the body as it came, so what says how it came stays (3.2)": {
        f"304-etag-update-response-{name}": Scene(
            _with(name, "own"),
            (Ask(stored=True, says=_with(name, "other"), status="304 Not Modified", gets={name: "own"}),),
        )
        for name in ("Content-Encoding", "Content-Range")
    },
}
