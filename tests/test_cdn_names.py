"""What a CDN is told of each answer: names that are valid, bounded and tell nothing, and its lifetime."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_ext import TieredCache
from cache_ext.cdn.headers import SurrogateHeaders
from cache_ext.cdn.names import FASTLY_BYTES, GROUPS, VARNISH_BYTES, SurrogateNames
from cache_ext.cdn.tagging import Tagged, read, spelled
from cache_ext.keys import check_name

PUBLIC = ("Cache-Control", "public, max-age=60, stale-while-revalidate=5, stale-if-error=30")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
TAGS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
        lambda tag: not CONTROL.search(tag)
    ),
    max_size=20,
)


def answered(app, names, environ=None):
    """Return the headers of *app*'s answer, by name in lower case, as a CDN sees them."""
    seen = {}

    def start(status, headers, *exc_info):
        seen.update((name.lower(), value) for name, value in headers)

    SurrogateHeaders(app, names)(environ or {}, start)
    return seen


def saying(*headers, status="200 OK"):
    """Return an application that answers with these headers."""

    def app(environ, start_response):
        start_response(status, list(headers))
        return [b""]

    return app


@given(TAGS)
def test_any_tag_survives_the_header_within(tags):
    """Spaces, percent signs, other alphabets: what is written is visible ASCII, and read as it was."""
    value = spelled(tags)
    assert re.fullmatch(r"[\x20-\x7e]*", value)
    assert read(value) == tags


@given(TAGS, st.sampled_from(["shop", "other"]))
def test_names_are_valid_in_a_header_and_do_not_show_the_tag(tags, namespace):
    """Twelve letters, digits, hyphens or underscores, whatever the tag is made of."""
    for name in SurrogateNames(namespace).header(tags).split(" "):
        assert re.fullmatch(r"[A-Za-z0-9_-]{12}", name)
        assert name not in tags


@given(st.integers(0, 3_000), st.sampled_from([VARNISH_BYTES, FASTLY_BYTES]), st.integers(0, 2_999))
def test_a_header_is_bounded_and_every_tag_of_it_still_purges_it(count, most, one):
    """However many tags: no longer than allowed, and what is purged with any of them is in it."""
    names = SurrogateNames("shop", most)
    tags = [f"pair:kraken:{number}-USDC" for number in range(count)]
    header = names.header(tags)
    assert len(header) <= most
    assert names.everything in header.split()
    if count:
        assert names.purged_with([tags[one % count]]) & set(header.split())


def test_a_short_header_names_the_tags_alone():
    """The coarser names are for those that are too long: others are purged by nothing but their tags."""
    names = SurrogateNames("shop")
    header = set(names.header(["a", "b"]).split())
    assert len(header) == 3
    assert not names.purged_with([f"x{number}" for number in range(GROUPS * 8)]) & header


def test_two_namespaces_share_no_name():
    """Two services behind one CDN do not purge each other, not even all at once."""
    mine, other = SurrogateNames("shop"), SurrogateNames("other")
    assert not {mine.everything, *mine.purged_with(["a"])} & {other.everything, *other.purged_with(["a"])}


@pytest.mark.parametrize("most", [100, FASTLY_BYTES + 1])
def test_a_bound_that_cannot_be_kept_is_refused(most):
    """Too small for all groups, or more than is ever sent."""
    with pytest.raises(ValueError, match="max_bytes"):
        SurrogateNames("shop", most)


def test_an_answer_names_the_tags_of_all_that_was_read(cache: TieredCache):
    """Read directly, loaded, nested, in L1 or not; what is read without tags names none."""

    def app(environ, start_response):
        cache.get_or_load("outer", lambda: cache.get_or_load("inner", int, tags=["é 1"]), tags=["outer"])
        cache.get_or_load("bare", int)
        cache.get("set before")
        start_response("200 OK", [("Surrogate-Key", "own")])
        return [b""]

    cache.set("set before", 1, tags=["before"])
    for _ in range(2):
        said = []
        Tagged(app)({}, lambda status, headers, said=said: said.extend(headers))
        tags = [tag for name, value in said if name == "Surrogate-Key" for tag in read(value)]
        assert sorted(tags) == ["before", "outer", "own", "é 1"]


def test_an_answer_of_two_versions_is_for_no_cache(cache: TieredCache):
    """A tag was invalidated between two reads of one answer: no purge to come would hit it."""

    def app(environ, start_response):
        cache.get_or_load("a", int, tags=["t"])
        cache.invalidate_tags("t")
        cache.get_or_load("b", int, tags=["t"])
        start_response("200 OK", [PUBLIC])
        return [b""]

    said = answered(Tagged(app), SurrogateNames("shop"))
    assert said["cdn-cache-control"] == said["surrogate-control"] == "no-store"


def test_a_public_answer_may_be_kept_as_its_cache_control_says():
    """Both headers say the lifetime; that for clients stays."""
    names = SurrogateNames("shop")
    said = answered(saying(PUBLIC, ("Age", "59"), ("Surrogate-Key", "b"), ("surrogate-key", "a")), names)
    told = "max-age=60, stale-while-revalidate=5, stale-if-error=30"
    assert said["cdn-cache-control"] == said["surrogate-control"] == told
    assert said["surrogate-key"] == names.header(["a", "b"])
    assert said["cache-control"] == PUBLIC[1]


def test_shared_lifetime_goes_before_that_of_clients():
    """s-maxage is meant for such as a CDN (RFC 9111, section 5.2.2.10)."""
    said = answered(saying(("Cache-Control", "public, max-age=1, s-maxage=9")), SurrogateNames("shop"))
    assert said["surrogate-control"] == "max-age=9"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK", []),
        ("404 Not Found", []),
        ("500 Oops", [PUBLIC]),
        ("429 Too Many Requests", [PUBLIC]),
        ("200 OK", [("Cache-Control", "max-age=60")]),
        ("200 OK", [("Cache-Control", "public")]),
        ("200 OK", [("Cache-Control", "public, max-age=0")]),
        ("200 OK", [("Cache-Control", "public, max-age=-1")]),
        ("200 OK", [("Cache-Control", "public, max-age=1.5")]),
        ("200 OK", [("Cache-Control", "public, max-age=99999999999999999999")]),
        ("200 OK", [("Cache-Control", "public, max-age=5, max-age=6")]),
        ("200 OK", [("Cache-Control", 'public, max-age=60, no-cache="x-y"')]),
        ("200 OK", [("Cache-Control", "private, public, max-age=60")]),
        ("200 OK", [PUBLIC, ("Cache-Control", "no-store")]),
        ("200 OK", [PUBLIC, ("Set-Cookie", "a=b")]),
        ("200 OK", [PUBLIC, ("Vary", "Accept, *")]),
        ("200 OK", [PUBLIC, ("Age", "60")]),
        ("200 OK", [PUBLIC, ("Age", "-1")]),
        ("200 OK", [PUBLIC, ("Age", "soon")]),
    ],
)
def test_all_else_is_kept_by_no_cdn(status, headers):
    """Errors, what is of one caller, what is stale or says something odd: no-store, and no name at all."""
    said = answered(saying(*headers, ("Surrogate-Key", "a"), status=status), SurrogateNames("shop"))
    assert said["cdn-cache-control"] == said["surrogate-control"] == "no-store"
    assert "surrogate-key" not in said


def test_tags_of_the_request_are_named_too():
    """Its URL's tag, say, by which the HTTP cache invalidates."""
    names, seen = SurrogateNames("shop"), []
    app = SurrogateHeaders(saying(PUBLIC), names, lambda environ: (environ["PATH_INFO"],))
    app({"PATH_INFO": "/x"}, lambda status, headers: seen.extend(headers))
    assert dict(seen)["Surrogate-Key"] == names.header([check_name("/x")])
