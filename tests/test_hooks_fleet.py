"""Hooks in several processes: each event is run in one of them, and in another if that one is killed."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
import redis

from cache_ext import MISS, Fate
from cache_ext.hooks.running import LOOK
from cache_ext.hooks.stream import ABANDONED, BUCKET
from tests.caches import connected
from tests.processes import spawn, terminate
from tests.waiting import until

ROOT = Path(__file__).parent.parent
EVENTS = 200
MARGIN = 5.0
"""Seconds that a busy machine may take for what is due."""


class Crew:
    """Processes that have the hook, and the desk where they report."""

    def __init__(self, url, namespace, log):
        self.desk = redis.Redis.from_url(url.replace("/0", "/1"), decode_responses=True)
        self.processes = []
        self._where = (url, namespace)
        self._log = log

    def begin(self, *options):
        """Start one more, and return at once."""
        command = [sys.executable, "-m", "tests.hooks_member", *self._where, *options]
        self.processes.append(spawn(command, self._log, cwd=ROOT))
        return self.processes[-1]

    def start(self, *options):
        """Start one more, and return when it listens."""
        self.begin(*options)
        there = len(self.processes)
        until(lambda: int(self.desk.get("ready") or 0) == there, "it is ready", 20)
        return self.processes[-1]

    def reports(self, name):
        """Return what was reported: (process, id of the event)."""
        return [tuple(line.split(" ")) for line in self.desk.lrange(name, 0, -1)]

    def close(self):
        """End all of them."""
        for process in self.processes:
            terminate(process)
        self.desk.close()


@pytest.fixture
def crew(redis_url, namespace, tmp_path):
    """A crew on the shared server, to be started."""
    crew = Crew(redis_url, namespace, tmp_path / "crew.log")
    yield crew
    crew.close()


@pytest.fixture
def emitter(make_cache, redis_url):
    """A cache without hooks."""
    return connected(make_cache(redis_url))


@pytest.mark.parametrize("options", [(), ("gevent",)])
def test_each_event_is_run_by_exactly_one_of_three_processes(crew, emitter, options):
    """200 events, three processes: 200 runs, none missing, none twice; threads and greenlets alike."""
    for _ in range(3):
        crew.start("quick", *options)
    ids = [emitter.hooks.emit("trade_executed", number).id for number in range(EVENTS)]
    until(lambda: len(crew.reports("runs")) >= EVENTS, "all events are run", 30)
    for process in crew.processes:
        terminate(process)
    assert sorted(event for _, event in crew.reports("begun")) == sorted(ids)
    assert sorted(event for _, event in crew.reports("runs")) == sorted(ids)


def test_a_forked_child_runs_hooks(crew, emitter):
    """Hooks that were there before a fork are called in the child, whose thread is its own."""
    parent = crew.start("forked")
    receipt = emitter.hooks.emit("trade_executed", 1)
    until(lambda: crew.reports("runs"), "the child runs it")
    ((pid, event),) = crew.reports("runs")
    assert event == receipt.id
    assert pid != str(parent.pid)


def test_an_event_of_a_killed_process_is_run_by_another(crew, emitter):
    """SIGKILL in the middle of a hook: another process runs it once its time is over, and only that event."""
    victim = crew.start("slow")
    receipt = emitter.hooks.emit("trade_executed", {"amount": 3})
    until(lambda: crew.reports("begun"), "the victim runs it")
    other = crew.start("quick")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    until(lambda: crew.reports("runs"), "the other runs it", ABANDONED + LOOK + MARGIN)
    assert crew.reports("begun") == [(str(victim.pid), receipt.id), (str(other.pid), receipt.id)]
    assert crew.reports("runs") == [(str(other.pid), receipt.id)]


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_what_a_process_was_killed_over_is_invalidated_by_another(crew, emitter, redis_url):
    """SIGKILL after it has taken an event and before the tags are invalidated: nothing is lost."""
    victim = crew.start("stuck")
    with redis.Redis.from_url(redis_url) as desk:
        taken = emitter.runtime.keyspace.place(BUCKET, "taken")
        until(lambda: desk.exists(taken), "it follows the stream")
    emitter.set("price", 1, ttl=600, tags=["pair:SOL-USDC"])
    emitter.set("other", 1, ttl=600, tags=["pair:BTC-USDC"])
    receipt = emitter.hooks.emit("trade_executed", {"pair": "SOL-USDC"})
    until(lambda: crew.reports("begun") == [(str(victim.pid), receipt.id)], "the victim is at it")
    other = crew.start("ruled")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    until(lambda: emitter.get("price") is MISS, "the other invalidates it", ABANDONED + LOOK + MARGIN)
    assert emitter.get("other") == 1
    assert crew.reports("runs") == [(str(other.pid), receipt.id)]


def test_who_is_killed_between_invalidating_and_telling_may_be_repeated(crew, emitter):
    """The tags are invalidated already, the id is not marked: the event, emitted again, counts."""
    emitter.hooks.invalidate_by(lambda event: [f"pair:{event.data['pair']}"], emitter)
    emitter.set("price", 1, ttl=600, tags=["pair:SOL-USDC"])
    assert crew.begin("hasty").wait(20) == -signal.SIGKILL
    until(lambda: emitter.get("price") is MISS, "it is invalidated")
    emitter.set("price", 2, ttl=600, tags=["pair:SOL-USDC"])
    assert emitter.hooks.emit("trade_executed", {"pair": "SOL-USDC"}, id="t-1").fate is Fate.ACCEPTED
    assert emitter.get("price") is MISS


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_events_survive_that_redis_hangs_for_a_while(own_redis_server, namespace, tmp_path, make_cache):
    """What was accepted before Redis hung is run when it goes on; meanwhile `emit` answers in its budget."""
    crew = Crew(own_redis_server.url, namespace, tmp_path / "crew.log")
    try:
        crew.start("quick")
        emitter = connected(make_cache(own_redis_server.url, breaker_failures=1, breaker_cooldown=0.1))
        before = emitter.hooks.emit("trade_executed", 1)
        until(lambda: crew.reports("runs"), "the first is run")
        own_redis_server.pause()
        during = emitter.hooks.emit("trade_executed", 2)
        assert during.fate is Fate.QUEUED
        own_redis_server.resume()
        until(lambda: len(crew.reports("runs")) == 2, "the second is run")
        assert [event for _, event in crew.reports("runs")] == [before.id, during.id]
    finally:
        own_redis_server.resume()
        crew.close()
