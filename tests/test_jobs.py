"""Jobs: one at a time for each thing, known to all processes, alive only as long as theirs speaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from cache_ext import TieredCache
from cache_ext.errors import StoreUnavailable
from shivx.errors import Conflict, ShivxError, UnknownJob
from shivx.jobs import store
from shivx.jobs.record import VANISHED, Status
from shivx.jobs.report import SERVICE_GONE, STOPPED, Ended, Report
from shivx.jobs.store import CANCELLED, LOST, OK, Jobs, new_id, record_of
from tests.caches import PATIENCE, connected
from tests.servers import RunningServer
from tests.waiting import until

BEAT = 0.01
RUNNING = record_of(Status.RUNNING, 0.5)


@pytest.fixture
def jobs(make_cache: Callable[..., TieredCache], redis_url: str, namespace: str) -> Jobs:
    """The jobs of a namespace on each kind of server."""
    return Jobs(connected(make_cache(redis_url)).gateway, namespace)


@pytest.fixture
def job(jobs: Jobs) -> str:
    """A job that has begun."""
    made = new_id("direction")
    jobs.begin(made)
    return made


def place(url: str, pattern: str) -> Any:
    """Return the one Redis key that matches *pattern*."""
    with redis.Redis.from_url(url) as client:
        (found,) = client.scan_iter(match=pattern)
    return found


def work_for_ever(report: Report, act: Callable[[], object] = lambda: None) -> None:
    """Do *act*, and then what never ends by itself, while *report* tells of it."""
    with report.telling():
        act()
        threading.Event().wait(PATIENCE)


def test_one_thing_is_done_by_one_job_at_a_time(jobs: Jobs, job: str) -> None:
    """A second is told of the first; another thing is free; so is this one when the first has ended."""
    with pytest.raises(Conflict, match=job):
        jobs.begin(new_id("direction"))
    jobs.begin(new_id("volatility"))
    assert jobs.running("direction")
    assert jobs.tell(job, record_of(Status.SUCCEEDED, 1.0, result={"a": 1}), over=True) == OK
    assert not jobs.running("direction")
    jobs.begin(new_id("direction"))
    assert jobs.get(job).result == {"a": 1}


def test_a_job_is_what_its_process_said_last(jobs: Jobs, job: str) -> None:
    """Queued, running, how far, and how it ended."""
    assert (jobs.get(job).status, jobs.get(job).progress) == (Status.QUEUED, 0.0)
    jobs.tell(job, RUNNING)
    assert (jobs.get(job).status, jobs.get(job).progress) == (Status.RUNNING, 0.5)
    jobs.fail(job, "no candles")
    assert (jobs.get(job).status, jobs.get(job).error) == (Status.FAILED, "no candles")


def test_a_job_that_falls_silent_has_failed_and_frees_its_place(
    jobs: Jobs, job: str, redis_url: str, namespace: str
) -> None:
    """Redis forgets who does the thing; if the process only slept, it goes on unless it was replaced."""
    jobs.tell(job, RUNNING)
    lock = place(redis_url, f"{namespace}:*:x:doing:direction")
    with redis.Redis.from_url(redis_url) as client:
        assert 0 < client.pttl(lock) <= store.SILENCE_SECONDS * 1000
        client.delete(lock)
        assert (jobs.get(job).status, jobs.get(job).error) == (Status.FAILED, VANISHED)
        assert jobs.tell(job, RUNNING) == OK
        assert jobs.get(job).status == Status.RUNNING
        client.delete(lock)
        other = new_id("direction")
        jobs.begin(other)
        assert jobs.tell(job, RUNNING) == LOST
        assert jobs.tell(job, record_of(Status.SUCCEEDED, 1.0, result={}), over=True) == LOST
    assert jobs.get(job).status == Status.FAILED
    assert jobs.get(other).status == Status.QUEUED


def test_a_cancelled_job_hears_of_it_and_says_no_more(jobs: Jobs, job: str) -> None:
    """Its place is free when its process has heard; what it says after does not count."""
    jobs.tell(job, RUNNING)
    assert jobs.cancel(job).status == Status.CANCELLED
    with pytest.raises(Conflict):
        jobs.begin(new_id("direction"))
    assert jobs.tell(job, record_of(Status.SUCCEEDED, 1.0, result={}), over=True) == CANCELLED
    assert (jobs.get(job).status, jobs.get(job).result) == (Status.CANCELLED, None)
    jobs.begin(new_id("direction"))


def test_what_has_ended_or_is_settled_is_not_cancelled(jobs: Jobs, job: str) -> None:
    """The answer says what it found."""
    jobs.tell(job, record_of(Status.RUNNING, 0.9, settled=True))
    assert jobs.cancel(job).status == Status.RUNNING
    assert jobs.tell(job, record_of(Status.SUCCEEDED, 1.0, result={}), over=True) == OK
    assert jobs.cancel(job).status == Status.SUCCEEDED


@pytest.mark.parametrize("job", ["", "direction", "direction-1", "direction-" + "g" * 16, "a:b-" + "0" * 16])
def test_what_is_no_id_is_unknown(namespace: str, job: str) -> None:
    """Nothing that a client makes up becomes part of a key: Redis is not asked, there is none here."""
    jobs = Jobs(None, namespace)
    for ask in (jobs.get, jobs.cancel):
        with pytest.raises(UnknownJob):
            ask(job)


@pytest.mark.parametrize("kind", ["string", "list", "hash", "number"])
@pytest.mark.parametrize("what", ["doing:direction", "job:*"])
def test_garbage_in_redis_is_taken_for_absent(
    jobs: Jobs, job: str, redis_url: str, namespace: str, kind: str, what: str
) -> None:
    """No error; a record that cannot be read is none, and the process' next word mends it."""
    jobs.tell(job, RUNNING)
    key = place(redis_url, f"{namespace}:*:x:{what}")
    with redis.Redis.from_url(redis_url) as client:
        client.delete(key)
        if kind == "list":
            client.rpush(key, b"\xff")
        elif kind == "hash":
            client.hset(key, mapping={"status": b"\xff", "progress": "NaN", "result": "[" * 100_000})
        else:
            client.set(key, b"\xff\x00" if kind == "string" else b"7")
    with suppress(UnknownJob):
        assert jobs.get(job).status in (Status.RUNNING, Status.FAILED)
    with suppress(UnknownJob):
        jobs.cancel(job)
    jobs.running("direction")
    assert jobs.tell(job, RUNNING) in (OK, CANCELLED, LOST)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(key)
        client.rpush(key, b"\xff")
    with suppress(Conflict):
        jobs.begin(new_id("direction"))


def test_one_in_so_many_seconds_may_try(jobs: Jobs) -> None:
    """Whoever asks first; the others can see it."""
    assert not jobs.tried("direction")
    assert jobs.claim("direction", 60.0)
    assert jobs.tried("direction")
    assert not jobs.tried("volatility")
    assert not jobs.claim("direction", 60.0)
    assert jobs.claim("volatility", 60.0)


def test_the_report_speaks_until_the_end(jobs: Jobs, job: str) -> None:
    """How far it is, again and again; then the result."""
    report = Report(jobs, job, beat=BEAT)
    with report.telling() as done:
        report.progress(0.25)
        until(lambda: jobs.get(job).progress == 0.25, "its progress is told")
        done({"version": "1"})
    assert (jobs.get(job).status, jobs.get(job).result) == (Status.SUCCEEDED, {"version": "1"})
    assert not jobs.running("direction")


def test_a_cancelled_report_ends_its_process(jobs: Jobs, job: str) -> None:
    """By the signal that ends processes, at once."""
    report = Report(jobs, job, beat=BEAT)
    with pytest.raises(SystemExit):
        work_for_ever(report, lambda: jobs.cancel(job))
    assert report.cancelled
    assert jobs.get(job).status == Status.CANCELLED
    assert not jobs.running("direction")


def test_a_settled_report_can_no_longer_be_cancelled(jobs: Jobs, job: str) -> None:
    """And a cancelled one cannot be settled: of the two, the first counts."""
    report = Report(jobs, job, beat=BEAT)
    with report.telling() as done:
        report.settle()
        assert jobs.cancel(job).status == Status.RUNNING
        done({})
    assert jobs.get(job).status == Status.SUCCEEDED
    other = new_id("direction")
    jobs.begin(other)
    late = Report(jobs, other, beat=PATIENCE)
    jobs.cancel(other)
    with pytest.raises(Ended, match="cancelled"):
        late.settle()


@pytest.mark.parametrize(
    ("error", "told"),
    [(ShivxError("too few candles"), "too few candles"), (ZeroDivisionError("secret"), "a bug: ")],
)
def test_a_report_says_why_it_failed(jobs: Jobs, job: str, error: Exception, told: str) -> None:
    """In the words of an error that was foreseen; of another only that it was one."""
    with pytest.raises(type(error)), Report(jobs, job, beat=BEAT).telling():
        raise error
    found = jobs.get(job)
    assert found.status == Status.FAILED
    assert str(found.error).startswith(told)
    assert "secret" not in str(found.error)


def test_a_report_that_is_told_to_end_says_so(jobs: Jobs, job: str) -> None:
    """By SIGTERM."""
    with pytest.raises(SystemExit):
        work_for_ever(Report(jobs, job, beat=BEAT), lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert (jobs.get(job).status, jobs.get(job).error) == (Status.FAILED, STOPPED)


def test_a_report_ends_with_its_service(jobs: Jobs, job: str) -> None:
    """Whether that ends later or has ended already."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as service:

        def end_it() -> None:
            until(lambda: jobs.get(job).status == Status.RUNNING, "it runs")
            service.kill()

        with pytest.raises(SystemExit):
            work_for_ever(Report(jobs, job, service.pid, beat=BEAT), end_it)
    assert (jobs.get(job).status, jobs.get(job).error) == (Status.FAILED, SERVICE_GONE)
    again = new_id("direction")
    jobs.begin(again)
    with pytest.raises(SystemExit):
        work_for_ever(Report(jobs, again, service.pid, beat=BEAT))
    assert jobs.get(again).error == SERVICE_GONE


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_job_outlives_an_absence_of_redis(
    make_cache: Callable[..., TieredCache], own_redis_server: RunningServer, namespace: str
) -> None:
    """It waits to settle, and tells its end, when Redis is back, though that has forgotten it."""
    jobs = Jobs(connected(make_cache(own_redis_server.url)).gateway, namespace)
    job = new_id("direction")
    jobs.begin(job)
    with Report(jobs, job, beat=BEAT).telling() as done:
        until(lambda: jobs.get(job).status == Status.RUNNING, "it runs")
        own_redis_server.kill()
        with pytest.raises(StoreUnavailable):
            jobs.get(job)
        own_redis_server.start()
        done({"version": "1"})
    assert jobs.get(job).result == {"version": "1"}
