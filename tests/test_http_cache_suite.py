"""The questions of http-tests/cache-tests, and where we answer otherwise than they look for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cache_ext import TieredCache
from cache_ext.testing import FakeClock
from tests.cache_suite import DIFFERENT, SAME, Ask, Said, Scene
from tests.http_stage import Headers, Reply, Stage, date
from tests.market_stage import with_clock

TEXT = (Path(__file__).parent.parent / "docs/http-caching.md").read_text()
OTHERWISE = {name: scene for scenes in DIFFERENT.values() for name, scene in scenes.items()}


@pytest.fixture
def stage(make_cache: Callable[..., TieredCache], clock: FakeClock) -> Stage:
    """A stage whose application may say what a validator of WSGI would not let pass."""
    return Stage(with_clock(make_cache(), clock), clock, checked=False)


def fields(said: Said, clock: FakeClock) -> Headers:
    """Return *said* with its numbers as dates."""
    return [(name, date(clock, value) if isinstance(value, int) else value) for name, value in said]


def is_stored(reply: Reply, first: Reply, script_status: str) -> bool:
    """Tell whether what was stored answered, with or without the application's leave."""
    return reply.outcome in ("HIT", "STALE") or (
        script_status.startswith("304") and (reply.status == 304 or reply.body == first.body)
    )


def play(stage: Stage, clock: FakeClock, ask: Ask, first: Reply) -> None:
    """Send *ask*, and compare all that it says of what is to come."""
    clock.advance(ask.later)
    script, before = stage.script, stage.asked
    if ask.says is not None:
        script.says(None, *fields(ask.says, clock))
    script.status = ask.status or script.status
    reply = stage.send(ask.method, ask.path, ask.sent, body=b"" if ask.method in ("GET", "HEAD") else b"abc")
    assert is_stored(reply, first, script.status) == ask.stored
    assert ask.code in (0, reply.status)
    assert ask.body in (None, reply.body)
    for name, value in ask.gets.items():
        assert reply[name] == (date(clock, value) if isinstance(value, int) else value), name
    asked = {} if stage.asked == before else script.asked[before]
    for name, value in ask.asks.items():
        assert asked.get(name if name.isupper() else "HTTP_" + name.upper().replace("-", "_")) == value, name


def perform(stage: Stage, clock: FakeClock, scene: Scene) -> None:
    """Play *scene*."""
    stage.script.says(None, *fields(scene.says, clock), status=scene.status, body=scene.body)
    first = stage.get(headers=scene.sent)
    for ask in scene.asks:
        play(stage, clock, ask, first)


@pytest.mark.parametrize("name", SAME)
def test_common_questions_are_answered_as_the_standard_has_it(
    stage: Stage, clock: FakeClock, name: str
) -> None:
    """RFC 9111: what http-tests/cache-tests asks of each cache that many share."""
    perform(stage, clock, SAME[name])


@pytest.mark.parametrize("name", OTHERWISE)
def test_other_answers_are_given_where_that_is_known(stage: Stage, clock: FakeClock, name: str) -> None:
    """What the standard lets a cache decide, and we decide otherwise than the suite looks for."""
    perform(stage, clock, OTHERWISE[name])


def test_each_other_answer_is_told_with_its_reason() -> None:
    """The document has each name and why, so that nobody is surprised."""
    assert not OTHERWISE.keys() & SAME.keys()
    for reason, scenes in DIFFERENT.items():
        (line,) = [line for line in TEXT.splitlines() if reason in line]
        assert all(f"`{name}`" in line for name in scenes), reason
