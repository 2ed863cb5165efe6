"""Hooks: functions called for events, through Redis, or in this process while Redis is away."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import redis

from cache_ext import ConfigurationError, Emitted, Event, Fate, StoreUnavailable, UnsupportedValue, metrics
from cache_ext.hooks import backlog, running, stream
from tests.caches import PATIENCE, Stop, begin, connected
from tests.waiting import until

TRADE = {"pair": "SOL-USDC", "price": Decimal("101.50"), "at": datetime(2026, 1, 1, tzinfo=UTC)}


@pytest.fixture
def quick(monkeypatch):
    """Hooks that look often and try again soon."""
    monkeypatch.setattr(running, "LOOK", 0.02)
    monkeypatch.setattr(running, "PAUSES", (0.01, 0.02))


@pytest.fixture
def desk(redis_url):
    """A client of the server's own."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


def counted(outcome):
    """Return how often an outcome was counted in this process."""
    return metrics.hook_events.labels(outcome)._value.get()


def collector(cache, event="trade", name="collect"):
    """Give *cache* a hook that collects what it is called with, and return what it has so far."""
    seen = []
    cache.hooks.on(event, name=name)(seen.append)
    return seen


def stream_of(cache):
    """Return where the events of *cache* lie."""
    return cache.runtime.keyspace.place(stream.BUCKET, "events")


def aside_of(cache):
    """Return where the events that were given up lie."""
    return cache.runtime.keyspace.place(stream.BUCKET, "aside")


def pending(cache, desk, group):
    """Return how many events *group* has taken and not ended."""
    return desk.xpending(stream_of(cache), group)["pending"]


def has_group(cache, desk):
    """Tell whether a hook of *cache* is known to Redis."""
    return desk.exists(stream_of(cache)) and desk.xinfo_groups(stream_of(cache))


def test_a_hook_is_called_with_the_event(cache):
    """It gets name, id, time and exactly the data that was emitted."""
    seen = collector(cache)
    cache.start()
    receipt = cache.hooks.emit("trade", TRADE, id="order-17")
    until(lambda: seen, "the hook is called")
    assert seen == [Event("trade", "order-17", seen[0].at, TRADE)]
    assert abs(seen[0].at - time.time()) < 10
    assert receipt.id == "order-17"


def test_an_event_is_accepted_in_one_round_trip(make_cache, redis_url):
    """`emit` sends one command; whatever hooks there are, it does not wait for them."""
    cache = connected(make_cache(redis_url))
    sent, run = [], cache.gateway.run

    def listening(commands, operation):
        sent.append((threading.current_thread(), len(commands)))
        return run(commands, operation)

    cache.gateway.run = listening
    receipt = cache.hooks.emit("nobody-listens", {"a": 1})
    assert receipt == Emitted(receipt.id, Fate.ACCEPTED)
    assert [count for thread, count in sent if thread is threading.current_thread()] == [1]


def test_of_two_processes_with_a_hook_one_calls_it(make_cache, redis_url):
    """An event goes to one of those that have the hook; another hook of the same event gets it as well."""
    one, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    first, second = collector(one), collector(other)
    audit = collector(other, name="audit")
    ids = {one.hooks.emit("trade", number).id for number in range(50)}
    until(lambda: len(first) + len(second) >= 50 and len(audit) >= 50, "all are called")
    one.close()
    other.close()
    assert sorted(event.id for event in first + second) == sorted(ids)
    assert {event.id for event in audit} == ids
    assert len(audit) == 50


def test_a_process_without_hooks_takes_nothing(make_cache, redis_url, desk):
    """It emits, and what it emitted waits for those that have the hook, who may come a moment later."""
    emitter = connected(make_cache(redis_url))
    emitter.hooks.emit("trade", 1)
    assert not desk.xinfo_groups(stream_of(emitter))
    seen = collector(late := make_cache(redis_url))
    late.start()
    until(lambda: seen, "the late process takes it")


def test_a_new_hook_does_not_run_for_what_is_long_past(make_cache, redis_url, desk):
    """A hook that Redis never heard of begins with the last minute, not with all that was kept."""
    cache = make_cache(redis_url)
    old = int(time.time() - stream.FIRST_LOOK_BACK - 10) * 1000
    desk.xadd(stream_of(cache), {"n": "trade", "i": "old", "d": b"\x01"}, id=f"{old}-0")
    seen = collector(cache)
    cache.start()
    until(lambda: has_group(cache, desk), "the hook is known")
    cache.hooks.emit("trade", 2, id="new")
    until(lambda: seen, "the new event comes")
    assert [event.id for event in seen] == ["new"]


def test_an_id_does_nothing_twice(cache):
    """The second event of an id is refused, whoever emits it; without an id every event is its own."""
    seen = collector(cache)
    cache.start()
    assert cache.hooks.emit("trade", 1, id="a").fate in (Fate.ACCEPTED, Fate.HERE)
    assert cache.hooks.emit("trade", 2, id="a") == Emitted("a", Fate.REPEATED)
    cache.hooks.emit("trade", 3)
    cache.hooks.emit("trade", 3)
    until(lambda: len(seen) == 3, "three events come")
    cache.close()
    assert sorted(event.data for event in seen) == [1, 3, 3]


def test_what_cannot_be_carried_is_refused(cache):
    """Too much, types that no value may have, and names that are none are clear errors, and emit nothing."""
    with pytest.raises(UnsupportedValue, match="more than an event may have"):
        cache.hooks.emit("trade", b"x" * stream.MAX_EVENT_BYTES)
    with pytest.raises(UnsupportedValue):
        cache.hooks.emit("trade", object())
    with pytest.raises(ConfigurationError):
        cache.hooks.emit("", 1)
    with pytest.raises(ConfigurationError):
        cache.hooks.emit("trade", 1, id="two\nlines")


def test_a_hook_must_be_tellable_from_others(make_cache):
    """Two of one name, a function without a name of its own and an async one are refused."""
    hooks = make_cache().hooks

    def twice(event):
        """Do nothing."""

    async def asynchronous(event):
        """Do nothing."""

    hooks.on("trade")(twice)
    hooks.on("other")(twice)
    with pytest.raises(ConfigurationError, match="already"):
        hooks.on("trade")(twice)
    with pytest.raises(ConfigurationError, match="no name of its own"):
        hooks.on("trade")(lambda event: None)
    with pytest.raises(TypeError, match="async"):
        hooks.on("trade")(asynchronous)


@pytest.mark.parametrize("place", ["redis", "memory"])
def test_a_hook_that_fails_is_tried_again(make_cache, shared_servers, quick, place):
    """An event that it failed on comes again, the same; then it is done."""
    cache = make_cache(shared_servers.get("valkey").url if place == "redis" else "memory://")
    tries = []

    @cache.hooks.on("trade")
    def flaky(event):
        tries.append(event)
        if len(tries) < 3:
            raise ConnectionError("the mail server is away")

    cache.start()
    cache.hooks.emit("trade", 1)
    until(lambda: len(tries) == 3, "the third try")
    cache.close()
    assert tries[0] == tries[1]
    assert tries[1].id == tries[2].id


def test_an_event_that_fails_too_often_is_set_aside(make_cache, redis_url, desk, quick):
    """It is kept for people to look at, no longer tried, and the next event has its turn."""
    cache = make_cache(redis_url)
    tries = []

    @cache.hooks.on("trade", name="poisoned")
    def poisoned(event):
        tries.append(event.data)
        if event.data == "poison":
            raise ValueError("it cannot be digested")

    before = counted("set_aside"), counted("failed")
    cache.start()
    cache.hooks.emit("trade", "poison", id="bad")
    until(lambda: desk.xlen(aside_of(cache)), "it is set aside")
    cache.hooks.emit("trade", "good")
    until(lambda: "good" in tries, "the next comes")
    until(lambda: not pending(cache, desk, "trade|poisoned"), "nothing is pending")
    assert tries == ["poison"] * 3 + ["good"]
    ((_, fields),) = desk.xrange(aside_of(cache))
    assert (fields[b"i"], fields[b"hook"]) == (b"bad", b"trade|poisoned")
    assert (counted("set_aside") - before[0], counted("failed") - before[1]) == (1, 3)


def test_what_killed_its_takers_is_set_aside(make_cache, redis_url, desk, quick):
    """An event that was taken too often without an end is not run once more."""
    cache = make_cache(redis_url)
    seen = collector(cache)
    cache.hooks.emit("trade", 1)
    desk.xgroup_create(stream_of(cache), "trade|collect", "0")
    desk.xreadgroup("trade|collect", "hooks", {stream_of(cache): ">"})
    ((place, _),) = desk.xrange(stream_of(cache))
    desk.xclaim(
        stream_of(cache),
        "trade|collect",
        "hooks",
        0,
        [place],
        idle=60_000,
        retrycount=len(running.PAUSES) + 1,
    )
    cache.start()
    until(lambda: desk.xlen(aside_of(cache)), "it is set aside")
    assert seen == []


def test_nonsense_in_the_stream_is_passed_over(make_cache, redis_url, desk, quick):
    """Entries that are no events are acknowledged and counted, and the events behind them come."""
    cache = make_cache(redis_url)
    seen = collector(cache)
    before = counted("undecodable")
    for fields in (
        {"n": "trade", "i": "x", "d": b"\xc1"},
        {"n": "trade", "i": b"\xff\xfe", "d": b"\x01"},
        {"n": "trade", "j": "x"},
        {"n": "trade", "i": "x", "d": b"\xc4" + b"x" * (stream.MAX_EVENT_BYTES + 1)},
        {"other": "thing"},
        {"n": b"\xff", "i": "x", "d": b"\x01"},
    ):
        desk.xadd(stream_of(cache), fields)
    cache.start()
    cache.hooks.emit("trade", 1)
    until(lambda: seen, "the event comes")
    until(lambda: not pending(cache, desk, "trade|collect"), "nothing is pending")
    assert len(seen) == 1
    assert counted("undecodable") - before == 4


def test_events_of_other_names_are_passed_over(make_cache, redis_url, desk):
    """However many lie before it, a hook comes to its own event."""
    cache = connected(make_cache(redis_url))
    for number in range(3 * stream.MAX_PASSED):
        cache.hooks.emit("noise", number)
    cache.hooks.emit("trade", 1)
    seen = collector(cache)
    until(lambda: seen, "the event comes")
    cache.close()
    assert [event.data for event in seen] == [1]
    assert not pending(cache, desk, "trade|collect")


def test_a_message_wakes_the_hooks(make_cache, redis_url, desk, monkeypatch):
    """With a backplane nobody waits for the next look: what another process emits comes at once."""
    monkeypatch.setattr(running, "LOOK", 60.0)
    cache, emitter = make_cache(redis_url), connected(make_cache(redis_url))
    seen = collector(cache)
    connected(cache)
    until(lambda: has_group(cache, desk), "the first look is over")
    emitter.hooks.emit("trade", 1)
    until(lambda: seen, "the event comes")


def test_a_stream_that_was_lost_is_made_anew(make_cache, redis_url, desk, quick):
    """After FLUSHALL events come as before, those too that were emitted before a hook looked again."""
    cache = connected(make_cache(redis_url))
    emitter = connected(make_cache(redis_url))
    seen = collector(cache)
    until(lambda: has_group(cache, desk), "the hook is known")
    desk.flushall()
    ids = {emitter.hooks.emit("trade", number).id for number in range(20)}
    until(lambda: len(seen) == 20, "all come")
    assert {event.id for event in seen} == ids


def test_a_stream_of_a_wrong_type_harms_nobody(make_cache, redis_url, desk, quick):
    """Where something else lies in its place the hooks run here, and the circuit stays closed."""
    cache = connected(make_cache(redis_url, breaker_failures=2))
    desk.set(stream_of(cache), "not a stream")
    seen = collector(cache)
    assert [cache.hooks.emit("trade", number).fate for number in range(5)] == [Fate.HERE] * 5
    until(lambda: len(seen) == 5, "all are called")
    cache.set("k", 1)
    assert cache.gateway.breaker.state == "closed"


def test_a_long_run_is_not_taken_over(make_cache, redis_url, monkeypatch):
    """While the process that runs a hook lives, no other takes its event, however long it runs."""
    monkeypatch.setattr(running, "LOOK", 0.02)
    monkeypatch.setattr(stream, "ABANDONED", 2.5)
    caches = [make_cache(redis_url), make_cache(redis_url)]
    gate, calls = threading.Event(), []

    def slow(event):
        calls.append(event.id)
        gate.wait(10)

    for cache in caches:
        cache.hooks.on("trade", name="slow")(slow)
        connected(cache)
    caches[0].hooks.emit("trade", 1)
    until(lambda: calls, "one has begun")
    end = time.monotonic() + 2 * stream.ABANDONED
    until(lambda: time.monotonic() > end or len(calls) > 1, "longer than an event may lie untouched")
    gate.set()
    assert len(calls) == 1


def test_who_runs_too_long_is_believed_no_more(make_cache, redis_url, monkeypatch):
    """A hook has its time; then its process no longer holds the event, which goes to another."""
    monkeypatch.setattr(running, "LOOK", 0.02)
    monkeypatch.setattr(running, "LONGEST", 0.0)
    monkeypatch.setattr(stream, "ABANDONED", 2.5)
    gone, other = make_cache(redis_url), make_cache(redis_url)
    gate, calls = threading.Event(), []

    def first(event):
        calls.append("gone")
        gate.wait(10)

    gone.hooks.on("trade", name="h")(first)
    connected(gone)
    gone.hooks.emit("trade", 1)
    until(lambda: calls, "the first has begun")
    other.hooks.on("trade", name="h")(lambda event: calls.append("other"))
    connected(other)
    until(lambda: "other" in calls, "the other takes it over")
    gate.set()


def test_without_a_backplane_events_come_as_well(make_cache, redis_url):
    """Nobody wakes the hooks then; they look each second."""
    cache, emitter = make_cache(redis_url, pubsub=False), make_cache(redis_url, pubsub=False)
    seen = collector(cache)
    cache.start()
    emitter.hooks.emit("trade", 1)
    until(lambda: seen, "the event comes")


def test_closing_waits_for_the_hook_under_way(make_cache, redis_url, desk):
    """A hook that has begun ends, and Redis is told, before the process goes."""
    cache = connected(make_cache(redis_url))
    begun, gate, ended = threading.Event(), threading.Event(), []

    @cache.hooks.on("trade", name="slow")
    def slow(event):
        begun.set()
        gate.wait(10)
        ended.append(event.id)

    cache.hooks.emit("trade", 1)
    assert begun.wait(10)
    closing = begin(cache.close)
    until(cache.hooks._runner._stopped.is_set, "closing")
    gate.set()
    closing.result(10)
    assert len(ended) == 1
    assert not pending(cache, desk, "trade|slow")


def test_without_redis_at_all_hooks_run_here(make_cache):
    """`memory://` runs them in this process; an event without a hook is simply emitted."""
    cache = make_cache()
    seen = collector(cache)
    assert cache.hooks.emit("trade", 1).fate is Fate.HERE
    assert cache.hooks.emit("nobody-listens", 1).fate is Fate.HERE
    until(lambda: seen, "the hook is called")


@pytest.fixture
def lonely(own_redis_server, make_cache):
    """A cache whose Redis has just gone, and its server."""
    cache = connected(make_cache(own_redis_server.url, breaker_failures=1, breaker_cooldown=0.1))
    own_redis_server.kill()
    cache.get("k")
    return cache, own_redis_server


def test_while_redis_is_away_hooks_run_here(lonely):
    """The receipt says so; they are called at once, and once for an id."""
    cache, server = lonely
    seen = collector(cache)
    assert cache.hooks.emit("trade", 1, id="a").fate is Fate.HERE
    assert cache.hooks.emit("trade", 1, id="a").fate is Fate.REPEATED
    until(lambda: seen, "the hook is called")
    server.start()
    until(lambda: cache.hooks.emit("trade", 2).fate is Fate.ACCEPTED, "Redis is back")
    until(lambda: seen[-1].data == 2, "the next comes through Redis")
    assert [event.data for event in seen].count(1) == 1


def test_what_no_hook_here_wants_is_told_redis_later(lonely, make_cache):
    """A process that only emits keeps the event until Redis is back, for those who have the hook."""
    cache, server = lonely
    receipt = cache.hooks.emit("trade", 1)
    assert receipt.fate is Fate.QUEUED
    server.start()
    seen = collector(other := make_cache(server.url))
    connected(other)
    until(lambda: seen, "the event comes")
    assert [event.id for event in seen] == [receipt.id]


def test_an_event_that_redis_took_without_saying_so_is_run_once(own_redis_server, make_cache):
    """A hanging Redis reads it when it goes on; the same event, kept for it meanwhile, is no second one."""
    emitter = connected(make_cache(own_redis_server.url, op_timeout=0.1, breaker_failures=1))
    emitter.hooks.emit("other", 0)  # a connection is open now
    own_redis_server.pause()
    receipt = emitter.hooks.emit("trade", 1)
    assert receipt.fate is Fate.QUEUED
    own_redis_server.resume()
    seen = collector(cache := make_cache(own_redis_server.url))
    connected(cache)
    until(lambda: not len(emitter.hooks._backlog), "what was kept is told")
    emitter.hooks.emit("trade", 2)
    until(lambda: len(seen) > 1, "both come")
    assert [event.data for event in seen] == [1, 2]


def test_too_much_waiting_is_refused(lonely, monkeypatch):
    """What waits in a process is bounded: `emit` says that it can take no more."""
    cache, _ = lonely
    monkeypatch.setattr(backlog, "MAX_WAITING", 3)
    for number in range(3):
        cache.hooks.emit("trade", number)
    with pytest.raises(StoreUnavailable, match="events wait"):
        cache.hooks.emit("trade", 4)


def test_closing_waits_for_a_thread_that_is_being_started(make_cache, monkeypatch):
    """Whoever starts it is between two lines."""
    cache, stop = make_cache(), Stop()

    class Slow(threading.Thread):
        def start(self):
            if self.name == "cache-ext-hooks":
                stop.passes()
            super().start()

    collector(cache)
    monkeypatch.setattr(running.threading, "Thread", Slow)
    emitting = begin(lambda: cache.hooks.emit("trade", TRADE))
    stop.wait()
    closing = begin(lambda: cache.hooks.close(PATIENCE))
    until(cache.hooks._runner._stopped.is_set, "it is being closed")
    stop.go()
    emitting.result(PATIENCE)
    closing.result(PATIENCE)
