"""The same requests to one application, behind a real Varnish and behind our cache, are answered alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from cache_ext import HttpCache, HttpCacheOptions, TieredCache
from tests.http_stage import Reply
from tests.plain_varnish import ask, served, varnish

LATER = formatdate(4_000_000_000, usegmt=True)
EARLIER = formatdate(1_000_000_000, usegmt=True)
TAGGED = [("Cache-Control", "max-age=60"), ("ETag", '"v1"'), ("Last-Modified", EARLIER)]
Request = tuple[str, dict[str, str]]
THREE: list[Request] = [("GET", {})] * 3
# By path: what the application says, and what it is asked.
SCENES: dict[str, tuple[str, list[tuple[str, str]], list[Request]]] = {
    "/fresh": ("200 OK", [("Cache-Control", "max-age=60")], THREE),
    "/shared-first": ("200 OK", [("Cache-Control", "max-age=60, s-maxage=0")], THREE),
    "/shared-only": ("200 OK", [("Cache-Control", "s-maxage=60, max-age=0")], THREE),
    "/expires": ("200 OK", [("Expires", LATER)], THREE),
    "/expired": ("200 OK", [("Expires", EARLIER)], THREE),
    "/silent": ("200 OK", [], THREE),
    "/no-store": ("200 OK", [("Cache-Control", "no-store, max-age=60")], THREE),
    "/private": ("200 OK", [("Cache-Control", "private, max-age=60")], THREE),
    "/no-cache": ("200 OK", [("Cache-Control", "no-cache")], THREE),
    "/old": ("200 OK", [("Cache-Control", "max-age=60"), ("Age", "70")], THREE),
    "/young": ("200 OK", [("Cache-Control", "max-age=60"), ("Age", "10")], THREE),
    "/cookie": ("200 OK", [("Cache-Control", "max-age=60"), ("Set-Cookie", "a=b")], THREE),
    "/any": ("200 OK", [("Cache-Control", "max-age=60"), ("Vary", "*")], THREE),
    "/missing": ("404 Not Found", [("Cache-Control", "max-age=60")], THREE),
    "/moved": ("301 Moved Permanently", [("Cache-Control", "max-age=60"), ("Location", "/x")], THREE),
    "/found": ("302 Found", [("Cache-Control", "max-age=60"), ("Location", "/x")], THREE),
    "/kinds": (
        "200 OK",
        [("Cache-Control", "max-age=60"), ("Vary", "X-Kind")],
        [("GET", {"X-Kind": kind}) for kind in "abab"] + THREE,
    ),
    "/two-fields": (
        "200 OK",
        [("Cache-Control", "max-age=60"), ("Vary", "X-Kind, X-Size")],
        [("GET", {"X-Kind": kind, "X-Size": size}) for kind, size in ("a1", "a2", "b1", "a1", "a2")],
    ),
    "/gone": ("410 Gone", [("Cache-Control", "max-age=60")], THREE),
    "/at-once": ("200 OK", [("Cache-Control", "max-age=0")], THREE),
    "/age-first": ("200 OK", [("Cache-Control", "max-age=60"), ("Expires", EARLIER)], THREE),
    "/stated-old": ("200 OK", [("Expires", LATER), ("Cache-Control", "max-age=0")], THREE),
    "/written-large": ("200 OK", [("Cache-Control", "No-Store, Max-Age=60")], THREE),
    "/other-method": ("200 OK", [("Cache-Control", "max-age=60")], [("GET", {}), ("POST", {})]),
    "/who": (
        "200 OK",
        [("Cache-Control", "max-age=60")],
        [("GET", {"Authorization": "a"})] * 2 + THREE + [("GET", {"Authorization": "a"})],
    ),
    "/whose": ("200 OK", [("Cache-Control", "max-age=60")], [("GET", {"Cookie": "a=b"})] * 2 + THREE),
    "/head": ("200 OK", TAGGED, [("HEAD", {}), ("GET", {}), ("HEAD", {})]),
    "/known": (
        "200 OK",
        TAGGED,
        [
            ("GET", {}),
            ("GET", {"If-None-Match": '"v1"'}),
            ("GET", {"If-None-Match": 'W/"v1"'}),
            ("GET", {"If-None-Match": '"v2"'}),
            ("HEAD", {"If-None-Match": '"v1"'}),
            ("GET", {"If-Modified-Since": EARLIER}),
            ("GET", {"If-Modified-Since": formatdate(900_000_000, usegmt=True)}),
            ("GET", {"If-None-Match": '"v2"', "If-Modified-Since": EARLIER}),
        ],
    ),
    "/part": (
        "200 OK",
        TAGGED,
        [
            ("GET", {}),
            ("GET", {"Range": "bytes=1-3"}),
            ("GET", {"Range": "bytes=-2"}),
            ("GET", {"Range": "bytes=2-"}),
            ("GET", {"Range": "bytes=999-"}),
        ],
    ),
}


def application() -> Any:
    """Return the application, whose bodies count its answers by path."""
    counts: Counter[str] = Counter()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        counts[path] += 1
        status, headers, _ = SCENES.get(path, ("404 Not Found", [], []))
        body = b"answer %d of %s" % (counts[path], path.encode())
        start_response(status, [*headers, ("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return app


@pytest.fixture(scope="module")
def theirs(varnishd: str) -> Iterator[int]:
    """The port of Varnish."""
    with served(application()) as backend, varnish(varnishd, backend) as port:
        yield port


@pytest.fixture
def ours(make_cache: Callable[..., TieredCache]) -> Iterator[int]:
    """The port of our own."""
    with served(HttpCache(application(), make_cache(), options=HttpCacheOptions(heuristic=False))) as port:
        yield port


def told(reply: Reply) -> tuple[Any, ...]:
    """Return what of an answer has to be the same."""
    named = ["ETag", "Content-Range", "Location", "Vary", "Cache-Control"]
    if reply.status != 304:  # where RFC 9110, 15.4.5, has no need of it beside an ETag; Varnish sends it
        named.append("Last-Modified")
    body = reply.body if reply.status in (200, 206, 404) else b""
    return reply.status, body, *(reply[name] for name in named if reply.status != 416)


@pytest.mark.parametrize("path", SCENES)
def test_both_answer_alike(theirs: int, ours: int, path: str) -> None:
    """Which run of the application answers each request, its status, body, validators and range."""
    _, headers, requests = SCENES[path]
    seen = [[told(ask(port, method, path, sent)) for method, sent in requests] for port in (theirs, ours)]
    if not any(name == "ETag" for name, _ in headers):  # only ours gives one to what has none
        seen = [[(*each[:2], *each[3:]) for each in replies] for replies in seen]
    assert seen[0] == seen[1]
