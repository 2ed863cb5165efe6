"""A subscriber that goes deaf, in every way there is: its L1 keeps the staleness bound, judged at every read.

What a deaf process may believe ends a second after the last heartbeat that was answered, hence a second after
it became deaf at the latest. So no read that begins a second after an invalidation, made by somebody else
when this one is deaf already, may get the old value. No margin is needed, and none is given.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import threading
import time

import pytest
import redis

from cache_ext import CachePolicy
from cache_ext.coherence.backplane import BOUND
from cache_ext.coherence.messages import encode_names
from cache_ext.testing import FaultProxy
from cache_ext.transport.subscription import Subscription
from tests.caches import PATIENCE, begin, connected, stop_before
from tests.waiting import until

STEADY = CachePolicy(ttl=600, early_refresh=False)
SUBSCRIBERS = b"SUBSCRIBE"
JUDGED_READS = 20
"""Reads that must have begun after the bound before a test has seen enough."""
READER = """
import json, sys, time
from cache_ext import CachePolicy, open_cache
from tests.caches import connected
cache = connected(open_cache(sys.argv[1], namespace=sys.argv[2], op_timeout=2.0))
policy = CachePolicy(ttl=600, early_refresh=False)
while True:
    began = time.monotonic()
    value = cache.get_or_load("k", lambda: "new", policy=policy, tags=["t"])
    print(json.dumps([began, value]), flush=True)
    if sys.stdin.readline() == "":
        break
cache.close()
"""


@pytest.fixture
def server_kind():
    """Both kinds speak the same protocol; what differs is tested in `test_restart`."""
    return "valkey"


@pytest.fixture
def proxy(own_redis_server):
    """A proxy before a server of our own."""
    with FaultProxy(own_redis_server.url) as proxy:
        yield proxy


class Pair:
    """A cache whose subscriber goes deaf, and one that hears; both hold the old value in L1."""

    def __init__(self, make_cache, proxy, server):
        self.value = "old"
        self.server = server
        self.deaf = connected(make_cache(proxy.url, timeout=1.0))
        self.hearing = connected(make_cache(server.url))
        self.heard = []
        for cache in (self.deaf, self.hearing):
            assert self.read(cache, "k", "t") == "old"
            assert self.read(cache, "kept", "u") == "old"
        hear = self.deaf.runtime._backplane._heard
        self.deaf.runtime._backplane._heard = lambda message: self.heard.append(message) or hear(message)

    def read(self, cache, key, tag):
        """Read *key* as everybody here does."""
        return cache.get_or_load(key, lambda: self.value, policy=STEADY, tags=[tag])

    def invalidate(self):
        """Let the one who hears invalidate; return the moment before, seconds on the monotonic clock."""
        began = time.monotonic()
        self.value = "new"
        until(lambda: self.hearing.invalidate_tags("t").applied, "it is applied")
        return began

    def keeps_the_bound(self, since):
        """Read until enough reads have begun a second after *since*; assert that none of those is old."""
        judged = 0
        while judged < JUDGED_READS:
            began = time.monotonic()
            value = self.read(self.deaf, "k", "t")
            if began >= since + BOUND:
                judged += 1
                assert value == "new", f"the old value {began - since:.3f} s after its invalidation"

    def heard_nothing(self):
        """Assert that the deaf one was told nothing of the invalidation."""
        assert [message for message in self.heard if message.kind == "i"] == []

    def hears_again(self):
        """Wait for the deaf one's backplane; assert that L1 is revalidated, neither trusted nor dropped."""
        trust = self.deaf.runtime.trust
        until(lambda: trust.live_until > time.monotonic(), "it hears")
        slot = self.deaf.runtime.near.get("kept")
        assert slot.generation < trust.generation
        layers = [self.deaf.fetch("kept", str, policy=STEADY, tags=["u"]).layer for _ in range(2)]
        assert layers == ["l2", "l1"]
        assert self.deaf.runtime.near.get("kept") is slot


@pytest.fixture
def pair(make_cache, proxy, own_redis_server):
    """Two caches with the same value, one of them behind the proxy."""
    return Pair(make_cache, proxy, own_redis_server)


@pytest.mark.parametrize("fault", ["hang", "half_open"])
def test_a_line_that_says_nothing(pair, proxy, fault):
    """The subscriber's connection alone stands still, or its peer is gone and no end is told."""
    getattr(proxy, fault)(only=SUBSCRIBERS)
    since = pair.invalidate()
    pair.keeps_the_bound(since)
    pair.heard_nothing()
    trust = pair.deaf.runtime.trust
    until(lambda: trust.live_until == -math.inf, "it has given the line up")
    proxy.heal()
    pair.hears_again()


@pytest.mark.parametrize("reset", [True, False], ids=["RST", "FIN"])
def test_a_line_that_is_cut(pair, proxy, reset):
    """The subscriber is cut off again and again, as soon as it is told anything."""
    proxy.cut(reset=reset, only=SUBSCRIBERS)
    proxy.cut(after=1, reset=reset, lasting=True, only=SUBSCRIBERS)
    since = pair.invalidate()
    pair.keeps_the_bound(since)
    proxy.heal()
    pair.hears_again()


def test_a_client_that_the_server_kills(pair, proxy, own_redis_server):
    """CLIENT KILL, and the next attempts to subscribe hang."""
    proxy.hang(only=SUBSCRIBERS)
    assert not own_redis_server.ask("CLIENT KILL TYPE pubsub").startswith(b"-")
    since = pair.invalidate()
    pair.keeps_the_bound(since)
    pair.heard_nothing()
    proxy.heal()
    pair.hears_again()


def test_a_subscriber_that_is_too_slow_for_the_server(pair, proxy, own_redis_server):
    """Its output buffer overruns, so the server drops it, and with it what it was to be told."""
    proxy.hang(only=SUBSCRIBERS)
    with redis.Redis.from_url(own_redis_server.url) as client:
        client.config_set("client-output-buffer-limit", "pubsub 100kb 100kb 0")
        channel = pair.deaf.runtime.keyspace.channels[0]
        since = pair.invalidate()
        until(lambda: flood(client, channel) and subscribers(client) <= 1, "the server has dropped it")
    pair.keeps_the_bound(since)
    pair.heard_nothing()
    proxy.heal()
    pair.hears_again()


def flood(client, channel):
    """Publish more than a subscriber's buffers hold: that a key that nobody has was filled."""
    name = "x" * 65_000
    with client.pipeline(transaction=False) as batch:
        for _ in range(64):
            batch.publish(channel, b"f:12345678:0:" + encode_names([name]))
        batch.execute()
    return True


def subscribers(client):
    """Return how many connections are subscribed to anything."""
    return len(client.client_list(_type="pubsub"))


def test_a_server_that_restarts_behind_a_silent_line(pair, proxy, own_redis_server):
    """The deaf one learns neither of the restart nor of what came after it."""
    proxy.half_open(only=SUBSCRIBERS)
    own_redis_server.kill()
    own_redis_server.start()
    since = pair.invalidate()
    pair.keeps_the_bound(since)
    proxy.heal()
    trust = pair.deaf.runtime.trust
    until(lambda: trust.live_until > time.monotonic(), "it hears")
    assert pair.read(pair.deaf, "k", "t") == "new"


def test_it_subscribes_when_the_first_probe_is_over(make_cache, own_redis_server, monkeypatch):
    """Before that the circuit refuses what it asks next, and it would begin anew, late."""
    cache = make_cache(own_redis_server.url)
    states = []

    def subscribe(way, channels):
        states.append(cache.gateway.breaker.state)
        return Subscription(way, channels)

    monkeypatch.setattr("cache_ext.runtime.Subscription", subscribe)
    probe = stop_before(cache.gateway, "probe")
    starting = begin(cache.start)
    probe.wait()
    probe.go()
    starting.result(PATIENCE)
    connected(cache)
    assert states == ["closed"]


def test_a_subscription_that_is_never_confirmed_is_given_up(pair, proxy):
    """A peer that vanishes before it has confirmed is not waited for for ever."""
    proxy.half_open(only=SUBSCRIBERS)
    until(lambda: sum(wire.vanished for wire in proxy._relay.wires) >= 2, "it has tried to subscribe again")
    proxy.heal()  # what connected meanwhile stays dead
    pair.hears_again()


def test_a_process_that_was_stopped(make_cache, own_redis_server, namespace):
    """It goes on after the server has dropped it: the clock judges all its reads, the first one too."""
    hearing = connected(make_cache(own_redis_server.url))
    hearing.get_or_load("k", lambda: "old", policy=STEADY, tags=["t"])
    command = [sys.executable, "-c", READER, own_redis_server.url, namespace]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        try:
            answers = [json.loads(reader.stdout.readline())]
            assert answers[0][1] == "old"
            reader.send_signal(signal.SIGSTOP)
            since = time.monotonic()
            until(lambda: hearing.invalidate_tags("t").applied, "it is applied")
            with redis.Redis.from_url(own_redis_server.url) as client:
                client.config_set("client-output-buffer-limit", "pubsub 100kb 100kb 0")
                channel = hearing.runtime.keyspace.channels[0]
                until(lambda: flood(client, channel) and subscribers(client) <= 1, "it was dropped")
            until(lambda: time.monotonic() >= since + BOUND, "the bound is over")
            reader.send_signal(signal.SIGCONT)
            for _ in range(JUDGED_READS):
                reader.stdin.write("again\n")
                reader.stdin.flush()
                answers.append(json.loads(reader.stdout.readline()))
        finally:
            reader.send_signal(signal.SIGCONT)
            reader.stdin.close()
            reader.wait(PATIENCE)
    late = [value for began, value in answers if began >= since + BOUND]
    assert len(late) >= JUDGED_READS - 1
    assert set(late) == {"new"}


def test_reads_by_many_threads_keep_the_bound(pair, proxy):
    """While the line falls silent and comes back, time after time, no thread is served beyond the bound."""
    stop, wrong = threading.Event(), []
    changes = [(0.0, "old")]

    def watch():
        while not stop.is_set():
            began = time.monotonic()
            known = [value for at, value in list(changes) if began >= at + BOUND]
            seen = pair.read(pair.deaf, "k", "t")
            if known and seen < known[-1]:
                wrong.append((began, seen, known[-1]))

    watchers = [threading.Thread(target=watch) for _ in range(4)]
    for watcher in watchers:
        watcher.start()
    for turn in range(3):
        proxy.hang(only=SUBSCRIBERS)
        at = time.monotonic()
        pair.value = f"round {turn}"
        until(lambda: pair.hearing.invalidate_tags("t").applied, "it is applied")
        changes.append((at, pair.value))
        until(lambda at=at: time.monotonic() > at + 1.2 * BOUND, "the bound is over")
        proxy.heal()
    stop.set()
    for watcher in watchers:
        watcher.join()
    assert wrong == []


def test_trust_counts_from_the_sending_of_a_heartbeat(pair, proxy):
    """An answer that was on its way for 0.6 s vouches for 0.4 s more: what came after it may be lost."""
    trust, lag = pair.deaf.runtime.trust, 0.6
    proxy.delay(lag, only=SUBSCRIBERS)
    first = trust.live_until
    until(lambda: trust.live_until > first + BOUND, "only late answers count by now")
    answered = set()

    def many_came():
        answered.add(trust.live_until)
        assert max(answered) - time.monotonic() <= BOUND - lag
        return len(answered) > 3

    until(many_came, "answers came")
