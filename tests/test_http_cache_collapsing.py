"""Many who miss one response at once: the application runs once for all, if what it says is for all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cache_ext import TieredCache
from tests.caches import PATIENCE, begin, connected
from tests.http_stage import Chunks, Reply, Stage
from tests.waiting import until

CROWD = 8
PLAIN = [("Content-Type", "text/plain")]


class Held:
    """An application that waits to be let go, and counts who came.

    Args:
        answer: called with the number of the run, from 1, once it is let go.
    """

    def __init__(self, answer: Callable[[int, Any], Any]) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self.came = 0
        self.go = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, once let go."""
        with self._lock:
            self.came += 1
            number = self.came
        assert self.go.wait(PATIENCE)
        return self._answer(number, start_response)


def plain(status: str = "200 OK", control: str = "max-age=60") -> Callable[[int, Any], Any]:
    """Return what answers with the number of its run."""

    def answer(number: int, start_response: Any) -> list[bytes]:
        start_response(status, [("Cache-Control", control), *PLAIN])
        return [b"%d" % number]

    return answer


@pytest.fixture
def stages(make_cache: Callable[..., TieredCache], redis_url: str) -> list[Stage]:
    """Two processes' worth of the same application, over one Redis, in front of one script."""
    made = [Stage(connected(make_cache(redis_url)), checked=False) for _ in range(2)]
    made[1].script.answer = made[0].script.answer
    return made


def crowd(stages: list[Stage], app: Held, waiting: int) -> Iterator[Reply]:
    """Send `CROWD` requests to each of *stages*; let *app* go once *waiting* are inside it and all came."""
    inside = threading.Barrier(CROWD * len(stages) + 1)
    for stage in stages:
        stage.script.answer = app

    def ask(stage: Stage) -> Reply:
        inside.wait(PATIENCE)
        return stage.get()

    futures = [begin(lambda stage=stage: ask(stage)) for stage in stages for _ in range(CROWD)]
    inside.wait(PATIENCE)
    until(lambda: app.came >= waiting, "the application is being asked")
    app.go.set()
    for future in futures:
        yield future.result(PATIENCE)


def test_a_crowd_of_two_processes_is_one_run(stages: list[Stage]) -> None:
    """RFC 9211, 2.7: whoever came second waited, in whichever process, and got the first one's answer."""
    app = Held(plain())
    replies = list(crowd(stages, app, 1))
    assert app.came == 1
    assert {reply.body for reply in replies} == {b"1"}
    collapsed = sum("collapsed" in (reply["Cache-Status"] or "") for reply in replies)
    assert collapsed >= CROWD // 2, "all but those whose thread came late"


@pytest.mark.parametrize("control", ["no-store", "private"])
def test_what_may_not_be_shared_releases_all_at_once(stages: list[Stage], control: str) -> None:
    """Nobody is given what was not for him, and they do not wait for each other one by one."""
    begun, release = threading.Semaphore(0), threading.Event()
    lock, runs = threading.Lock(), []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with lock:
            runs.append(1)
            number = len(runs)
        begun.release()
        if number > 1:  # the first has told that nothing is to be shared; the others meet in here
            assert release.wait(PATIENCE)
        start_response("200 OK", [("Cache-Control", control), *PLAIN])
        return [b"%d" % number]

    stages[0].script.answer = app
    futures = [begin(stages[0].get) for _ in range(CROWD)]
    until(lambda: len(runs) == CROWD, "all are asking the application at once")
    release.set()
    replies = [future.result(PATIENCE) for future in futures]
    assert len({reply.body for reply in replies}) == CROWD


def test_a_stream_that_may_not_be_shared_holds_up_nobody(make_cache: Callable[..., TieredCache]) -> None:
    """The head is enough to know: the others are let go while the first one's body is still made."""
    stage = Stage(make_cache(), checked=False)
    end, lock, runs = threading.Event(), threading.Lock(), []

    def stream() -> Iterator[bytes]:
        yield b"begun"
        assert end.wait(PATIENCE)

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        with lock:
            runs.append(1)
        start_response("200 OK", [("Cache-Control", "no-store"), *PLAIN])
        return stream()

    stage.script.answer = app
    futures = [begin(stage.get) for _ in range(3)]
    until(lambda: len(runs) == 3, "all are inside")
    end.set()
    assert {future.result(PATIENCE).body for future in futures} == {b"begun"}


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Oh", "503 No"])
def test_a_leaders_failure_is_his_own(stages: list[Stage], status: str) -> None:
    """What the first one got says nothing of the others: they ask for themselves."""

    def answer(number: int, start_response: Any) -> list[bytes]:
        start_response(status if number == 1 else "200 OK", PLAIN)
        return [b"%d" % number]

    app = Held(answer)
    replies = list(crowd(stages[:1], app, 1))
    assert sorted(reply.status for reply in replies) == sorted([int(status[:3])] + [200] * (CROWD - 1))


def test_a_leaders_exception_is_his_own(stages: list[Stage]) -> None:
    """An abort of the first run is not handed to those who waited for it."""

    def answer(number: int, start_response: Any) -> list[bytes]:
        if number == 1:
            raise ConnectionAbortedError("cut")
        start_response("200 OK", [("Cache-Control", "max-age=60"), *PLAIN])
        return [b"fine"]

    app = Held(answer)
    stage = stages[0]
    stage.script.answer = app
    leader = begin(stage.get)
    until(lambda: app.came == 1, "the first is inside")
    others = [begin(stage.get) for _ in range(3)]
    app.go.set()
    with pytest.raises(ConnectionAbortedError, match="cut"):
        leader.result(PATIENCE)
    assert {future.result(PATIENCE).body for future in others} == {b"fine"}


def test_choices_of_a_first_crowd_are_told_apart(make_cache: Callable[..., TieredCache]) -> None:
    """RFC 9111, 4.1: who waited for an answer that turns out to be of another choice asks for his own."""
    stage = Stage(make_cache(), checked=False)
    go, lock, runs = threading.Event(), threading.Lock(), []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with lock:
            runs.append(environ.get("HTTP_X_KIND"))
        assert go.wait(PATIENCE)
        start_response("200 OK", [("Cache-Control", "max-age=60"), ("Vary", "X-Kind"), *PLAIN])
        return [str(environ.get("HTTP_X_KIND")).encode()]

    stage.script.answer = app
    kinds = ["a", "b", "a", "b", "c"]
    futures = [begin(lambda kind=kind: stage.get(headers={"X-Kind": kind})) for kind in kinds]
    until(lambda: len(runs) >= 1, "the application is being asked")
    go.set()
    assert [future.result(PATIENCE).body.decode() for future in futures] == kinds
    assert sorted(map(str, runs)) == ["a", "b", "c"]


def test_an_application_that_is_slow_is_spared_by_what_is_stale(
    make_cache: Callable[..., TieredCache],
) -> None:
    """RFC 5861, 4: past the timeout the stale response serves; what comes late is stored, and closed."""
    stage = Stage(make_cache(), checked=False, timeout=0.05)
    stage.script.says("max-age=1, stale-if-error=300")
    stage.get()
    body, go = Chunks(b"late"), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Chunks:
        assert go.wait(PATIENCE)
        start_response("200 OK", [("Cache-Control", "max-age=60"), *PLAIN])
        return body

    stage.script.answer = app
    until(lambda: stage.get(headers={"Cache-Control": "only-if-cached"}).status == 504, "it is stale")
    slow = stage.get()
    assert (slow.body, slow.outcome) == (b"answer 1", "STALE")
    go.set()
    until(lambda: stage.get().body == b"late", "what came late is served")
    assert body.closed == 1


def test_who_says_who_he_is_waits_once_at_most(make_cache: Callable[..., TieredCache]) -> None:
    """Answers that are for their askers alone are not made one after the other."""
    stage = Stage(make_cache(), checked=False, uncacheable_for=60)
    lock, go, runs = threading.Lock(), threading.Event(), []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with lock:
            runs.append(environ["HTTP_COOKIE"])
        if len(runs) > 1:
            assert go.wait(PATIENCE)
        start_response("200 OK", [("Cache-Control", "max-age=60"), *PLAIN])
        return [environ["HTTP_COOKIE"].encode()]

    stage.script.answer = app
    assert stage.get(headers={"Cookie": "0"}).body == b"0"
    futures = [begin(lambda n=n: stage.get(headers={"Cookie": str(n)})) for n in range(1, 5)]
    until(lambda: len(runs) == 5, "all are inside together")
    go.set()
    assert [future.result(PATIENCE).body for future in futures] == [b"1", b"2", b"3", b"4"]
