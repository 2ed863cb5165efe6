"""Applications in all the ways that PEP 3333 allows, and what of them is stored."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from cache_ext import TieredCache
from cache_ext.testing import FakeClock
from tests.http_stage import Chunks, Stage
from tests.market_stage import with_clock
from tests.waiting import until

HEADERS = [("Cache-Control", "max-age=60"), ("Content-Type", "text/plain")]


@pytest.fixture
def stage(make_cache: Callable[..., TieredCache]) -> Stage:
    """A stage in one process."""
    return Stage(make_cache())


def answering(
    stage: Stage, *chunks: bytes | Exception, status: str = "200 OK", headers: Any = HEADERS
) -> Chunks:
    """Let the application answer with *chunks*; return its body."""
    body = Chunks(*chunks)

    def app(environ: dict[str, Any], start_response: Any) -> Chunks:
        start_response(status, headers)
        return body

    stage.script.answer = app
    return body


@pytest.mark.parametrize(
    "headers", [HEADERS, [("Cache-Control", "no-store"), ("Content-Type", "text/plain")]]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_body_is_closed_once(stage: Stage, headers: Any, method: str) -> None:
    """PEP 3333: whether it is stored or passed on, read or not."""
    body = answering(stage, b"a", b"", b"b", headers=headers)
    reply = stage.send(method)
    assert reply.body == (b"" if method == "HEAD" else b"ab")
    assert body.closed == 1


def test_a_body_that_breaks_off_is_not_stored(stage: Stage) -> None:
    """RFC 9111, 3.3: an incomplete response; the exception is its asker's, and the body is closed."""
    body = answering(stage, b"half", OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        stage.get()
    assert body.closed == 1
    answering(stage, b"whole")
    assert (stage.get().body, stage.get().outcome) == (b"whole", "HIT")


@pytest.mark.parametrize("length", ["3", "5", "x", "-4"])
def test_a_body_of_another_length_than_told_is_not_stored(
    make_cache: Callable[..., TieredCache], length: str
) -> None:
    """RFC 9111, 3.3, and RFC 9112, 8: cut short, or too long; it goes on as it came."""
    stage = Stage(make_cache(), checked=False)
    answering(stage, b"ab", b"cd", headers=[*HEADERS, ("Content-Length", length)])
    assert [stage.get().body for _ in range(2)] == [b"abcd"] * 2
    assert stage.asked == 2


def test_a_body_that_is_too_long_is_passed_on(make_cache: Callable[..., TieredCache]) -> None:
    """What was read of it and the rest, in order; nothing is stored."""
    stage = Stage(make_cache(), max_body_bytes=10)
    body = answering(stage, b"01234", b"56789", b"0", b"1", b"2")
    assert (stage.get().body, body.closed) == (b"0123456789012", 1)
    assert stage.get().outcome == "MISS"
    answering(stage, b"0123456789")
    stage.get("/fits")
    assert stage.get("/fits").outcome == "HIT"


def test_what_is_written_comes_first(stage: Stage) -> None:
    """PEP 3333: write() is part of the body, also of one that is stored or passed on."""
    for control in ("max-age=60", "no-store"):

        def app(environ: dict[str, Any], start_response: Any, control: str = control) -> list[bytes]:
            write = start_response("200 OK", [("Cache-Control", control), ("Content-Type", "text/plain")])
            write(b"a")
            write(b"b")
            return [b"c"]

        stage.script.answer = app
        assert stage.get(f"/{control}").body == b"abc"
    assert stage.get("/max-age=60").outcome == "HIT"


def test_a_head_may_be_replaced_until_the_body_begins(stage: Stage) -> None:
    """PEP 3333: start_response with exc_info; what is stored is what was meant in the end."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", HEADERS)
        try:
            raise ValueError("late")
        except ValueError:
            start_response("404 Not Found", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"no"]

    stage.script.answer = app
    assert stage.get().status == 404
    assert stage.get().outcome == "MISS"


def test_a_head_cannot_be_replaced_after_that(make_cache: Callable[..., TieredCache]) -> None:
    """PEP 3333: then exc_info is raised, and nothing is stored."""
    stage = Stage(make_cache(), checked=False)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        yield b"half"
        try:
            raise ValueError("too late")
        except ValueError:
            start_response("500 Oh", [], sys.exc_info())

    stage.script.answer = app
    with pytest.raises(ValueError, match="too late"):
        stage.get()
    answering(stage, b"whole")
    assert stage.get().body == b"whole"


def test_a_generator_may_begin_late(stage: Stage) -> None:
    """PEP 3333: start_response may be called with the first chunk only."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        yield b""
        yield b"late"

    stage.script.answer = app
    assert (stage.get().body, stage.get().outcome) == (b"late", "HIT")


def test_an_interim_answer_is_not_stored(make_cache: Callable[..., TieredCache]) -> None:
    """RFC 9110, 15.2: what follows 103 is the answer."""
    stage = Stage(make_cache(), checked=False)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("103 Early Hints", [("Link", "</a.css>; rel=preload")])
        start_response("200 OK", HEADERS)
        return [b"fine"]

    stage.script.answer = app
    assert [stage.get().status for _ in range(2)] == [200, 200]
    assert stage.get()["Link"] is None
    assert stage.get().outcome == "HIT"


def test_early_hints_are_for_whom_the_application_runs(
    make_cache: Callable[..., TieredCache], clock: FakeClock
) -> None:
    """RFC 8297: they reach the client who waits; a run in the background is offered none."""
    stage = Stage(with_clock(make_cache(), clock), clock, checked=False)
    hinted: list[Any] = []
    offered: list[bool] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        offered.append("wsgi.early_hints" in environ)
        environ.get("wsgi.early_hints", lambda _: None)([("Link", "</a.css>; rel=preload")])
        start_response("200 OK", [("Cache-Control", "max-age=1, stale-while-revalidate=60"), *HEADERS[1:]])
        return [b"fine"]

    stage.script.answer = app
    extra = {"wsgi.early_hints": hinted.append}
    assert (stage.get(**extra).outcome, len(hinted)) == ("MISS", 1)
    assert (stage.get(**extra).outcome, len(hinted)) == ("HIT", 1)
    clock.advance(2)
    assert stage.get(**extra).outcome == "STALE"
    until(lambda: stage.asked == 2, "it is made anew")
    assert (offered, len(hinted)) == ([True, False], 1)


@pytest.mark.parametrize("app", [lambda environ, start_response: [], lambda environ, start_response: [b"x"]])
def test_an_application_without_a_head_is_an_error(make_cache: Callable[..., TieredCache], app: Any) -> None:
    """PEP 3333: start_response must have been called."""
    stage = Stage(make_cache(), checked=False)
    stage.script.answer = app
    with pytest.raises(AssertionError, match="start_response"):
        stage.get()


@pytest.mark.parametrize(("status", "body"), [("204 No Content", b""), ("301 Moved Permanently", b"there")])
def test_other_statuses_are_served_as_they_were(stage: Stage, status: str, body: bytes) -> None:
    """RFC 9111, 3: what is stored comes back with its status."""
    headers = [("Cache-Control", "max-age=60"), ("Location", "/there")]
    if body:
        headers.append(("Content-Type", "text/plain"))
    answering(stage, *([body] if body else []), status=status, headers=headers)
    replies = [stage.get() for _ in range(2)]
    assert [reply.status for reply in replies] == [int(status[:3])] * 2
    assert [reply.body for reply in replies] == [body] * 2
    assert replies[1].outcome == "HIT"
