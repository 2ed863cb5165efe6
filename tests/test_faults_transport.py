"""The way to Redis when it is slow, hangs or comes late: budgets hold, leases come back, circuits tell."""

from __future__ import annotations

import select
import time

import pytest
import redis

from cache_ext import StoreUnavailable
from cache_ext.keys import KeySpace, bucket_of
from cache_ext.settings import CacheSettings
from cache_ext.stores.redis import LEASE_MS, RedisStore
from cache_ext.testing import FaultProxy
from cache_ext.transport.breaker import CircuitBreaker, State
from cache_ext.transport.budget import budget
from cache_ext.transport.connection import RedisGateway
from tests.caches import PATIENCE, begin, connected, stop_before
from tests.waiting import until

BUDGET = 0.5
"""Seconds for Redis in these tests; the bounds leave a busy machine a second or so more."""


@pytest.fixture
def server_kind():
    """Which server it is makes no difference here."""
    return "valkey"


@pytest.fixture
def proxy(own_redis_server):
    """A proxy before a server of our own."""
    with FaultProxy(own_redis_server.url) as proxy:
        yield proxy


@pytest.fixture
def make_gateway():
    """Open gateways."""
    opened = []

    def make(url, failures=3, monotonic=time.monotonic, **settings):
        made = CacheSettings(**{"redis_url": url, "op_timeout": BUDGET, **settings})
        opened.append(RedisGateway(made, CircuitBreaker(failures, 60.0, time.monotonic), monotonic=monotonic))
        return opened[-1]

    yield make
    for gateway in opened:
        gateway.close()


def timed(call):
    """Return what *call* returns or raises, and how many seconds it took."""
    started = time.monotonic()
    try:
        answer = call()
    except StoreUnavailable as error:
        answer = error
    return answer, time.monotonic() - started


@pytest.mark.parametrize("fault", ["hang", "pause"])
def test_a_lease_granted_to_one_who_gave_up_is_given_back(make_cache, proxy, own_redis_server, origin, fault):
    """A Redis that hung carries out an old `begin`; nobody waits for the end of that lease."""
    late = connected(make_cache(proxy.url, op_timeout=0.2, breaker_cooldown=0.1))
    other = connected(make_cache(own_redis_server.url))
    late.get_or_load("primer", int, ttl=60)  # so that the server knows the script
    stop = stop_before(late.runtime.store, "begin")
    loading = begin(lambda: late.get_or_load("k", origin.loader("k"), ttl=60))
    stop.wait()
    proxy.hang() if fault == "hang" else own_redis_server.pause()
    stop.go()
    assert loading.result(PATIENCE) == "k#1"
    proxy.heal() if fault == "hang" else own_redis_server.resume()
    answer, took = timed(lambda: other.get_or_load("k", origin.loader("k"), ttl=60))
    assert answer == "k#2"
    assert took < LEASE_MS / 1000 - 1.0
    until(lambda: not late.runtime._leases._orphans, "it is over")


def test_a_lease_granted_later_than_it_was_given_back_is_given_back_again(make_cache, redis_url, origin):
    """The old `begin` may be carried out after the first release: for a lease's life it is released again."""
    late, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    lease = late.runtime.keyspace.lease("k")
    releases = []
    release = late.runtime.store.release
    late.runtime.store.release = lambda keys, token: releases.append(token) or release(keys, token)
    late.runtime._leases.orphan(b"12345678", ["k"])
    until(lambda: releases, "it was given back for the first time")
    with redis.Redis.from_url(redis_url) as client:
        client.set(lease, b"12345678", px=LEASE_MS)  # what hung comes through only now
        until(lambda: client.get(lease) is None, "it was given back once more", 1.0)
    assert other.get_or_load("k", origin.loader("k"), ttl=60) == "k#1"


def test_the_lease_of_a_fill_that_was_lost_is_given_back(make_cache, proxy, own_redis_server, origin):
    """A load whose result did not get through leaves nobody waiting."""
    late = connected(make_cache(proxy.url, op_timeout=0.2, breaker_cooldown=0.1))
    other = connected(make_cache(own_redis_server.url))
    stop = stop_before(late.runtime.store, "fill")
    loading = begin(lambda: late.get_or_load("k", origin.loader("k"), ttl=60))
    stop.wait()
    proxy.half_open()
    stop.go()
    assert loading.result(PATIENCE) == "k#1"
    proxy.heal()
    answer, took = timed(lambda: other.get_or_load("k", origin.loader("k"), ttl=60))
    assert answer == "k#2"
    assert took < LEASE_MS / 1000 - 1.0


def test_orphans_are_not_made_where_nobody_was_asked(make_cache, own_redis_server):
    """With an open circuit no lease can have been granted; and they are bounded."""
    cache = connected(make_cache(own_redis_server.url, breaker_cooldown=60.0, breaker_failures=1))
    own_redis_server.kill()
    cache.get("k")
    until(lambda: cache.gateway.breaker.state is State.OPEN, "the circuit is open")
    before = len(cache.runtime._leases._orphans)
    for number in range(10):
        cache.get_or_load(f"k{number}", lambda: 1, ttl=60)
    assert len(cache.runtime._leases._orphans) == before
    for number in range(2000):
        cache.runtime._leases.orphan(b"%08d" % number, ["k"])
    assert len(cache.runtime._leases._orphans) == 1000


def test_a_new_connection_costs_one_budget_in_all(make_gateway, proxy, namespace):
    """TCP, HELLO, INFO, scripts, epochs and the command itself: however many steps, one budget."""
    gateway = make_gateway(proxy.url)
    RedisStore(gateway, KeySpace(namespace))
    proxy.delay(0.8 * BUDGET)
    answer, took = timed(lambda: gateway.run([("PING",)]))
    assert isinstance(answer, StoreUnavailable)
    assert took < 3 * BUDGET


def test_waiting_for_a_place_in_the_pool_and_connecting_cost_one_budget(make_gateway, proxy):
    """Who got a free place late has only the rest for connecting."""
    gateway = make_gateway(proxy.url, pool_size=1, pubsub=False, op_timeout=4 * BUDGET)
    taken = gateway.way.server.pool.get_connection()
    proxy.hang()
    asking = begin(lambda: timed(lambda: gateway.run([("PING",)])))
    until(lambda: gateway.way.server.pool.pool.not_empty._waiters, "it waits for a place")
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > 3 * BUDGET, "most of the budget is gone")
    taken.disconnect()
    gateway.way.server.pool.release(taken)
    answer, took = asking.result(PATIENCE)
    assert isinstance(answer, StoreUnavailable)
    assert took < 6 * BUDGET


def test_sending_much_to_a_server_that_does_not_read_costs_one_budget(make_gateway, proxy):
    """A large value that fills the kernel's buffers is given up when the time is over."""
    gateway = make_gateway(proxy.url, op_timeout=10 * BUDGET)
    gateway.run([("PING",)])
    proxy.hang()
    with budget(BUDGET):
        answer, took = timed(lambda: gateway.run([("SET", "k", b"x" * 32 * 2**20)]))
    assert isinstance(answer, StoreUnavailable)
    assert took < 5 * BUDGET


def test_the_first_call_waits_for_redis_no_longer_than_its_budget(make_cache, own_redis_server, origin):
    """A process that starts while Redis hangs answers its first request in time, and the next at once."""
    own_redis_server.pause()
    cache = make_cache(own_redis_server.url, op_timeout=4 * BUDGET, timeout=60.0)
    answer, took = timed(lambda: cache.get_or_load("k", origin.loader("k"), ttl=60))
    assert answer == "k#1"
    assert took < 7 * BUDGET
    answer, took = timed(lambda: cache.get_or_load("l", origin.loader("l"), ttl=60))
    assert answer == "l#1"
    assert took < 3 * BUDGET
    own_redis_server.resume()
    until(lambda: cache.gateway.breaker.state is State.CLOSED, "it was taken up")


def test_an_explicit_start_waits_for_as_long_as_it_takes(make_cache, own_redis_server):
    """After it the cache is connected, or it is known that it cannot be."""
    own_redis_server.pause()
    cache = make_cache(own_redis_server.url, op_timeout=BUDGET, timeout=60.0)
    starting = begin(cache.start)
    cache.get("k")
    assert not starting.done()
    own_redis_server.resume()
    starting.result(PATIENCE)
    assert cache.gateway.breaker.state is State.CLOSED


def test_answers_that_come_too_late_open_the_circuit(make_gateway, proxy):
    """A server that is alive and too slow is as good as none."""
    gateway = make_gateway(proxy.url, op_timeout=0.1)
    gateway.run([("PING",)])
    proxy.delay(0.3)
    for _ in range(3):
        assert gateway.breaker.state is State.CLOSED
        with pytest.raises(StoreUnavailable):
            gateway.run([("PING",)])
    assert gateway.breaker.state is State.OPEN


def test_a_probe_that_is_answered_too_late_is_no_good(make_gateway, proxy):
    """The circuit stays open while a request would not get its answer in time."""
    gateway = make_gateway(proxy.url, op_timeout=0.1, timeout=5.0)
    proxy.delay(0.3)
    assert not gateway.probe()
    proxy.heal()
    assert gateway.probe()


def test_a_reply_that_is_here_counts_though_we_are_late(make_gateway, proxy):
    """If it is this process that was not scheduled, that is not the server's fault."""
    late = [0.0]
    gateway = make_gateway(proxy.url, monotonic=lambda: time.monotonic() + late[0])
    gateway.run([("PING",)])
    server = gateway.way.server
    receive = server._receive
    woken = []

    class Overslept:
        """Reads as the connection's parser does, but at first too late to find anything in time."""

        def __init__(self, parser):
            self._parser = parser

        def read_response(self, **options):
            if not woken:
                woken.append(True)
                raise redis.TimeoutError
            return self._parser.read_response(**options)

    def overslept(connection, parser, deadline):
        select.select([connection._sock], [], [], PATIENCE)
        late[0] = 10.0
        return receive(connection, Overslept(parser), deadline)

    server._receive = overslept
    assert gateway.run([("ECHO", "x")]) == [b"x"]
    assert gateway.breaker._failures == 0


def test_caches_may_share_a_gateway(make_gateway, own_redis_server, namespace):
    """Each adopts the server's run for itself, also one that comes when the connections are made already."""
    gateway = make_gateway(own_redis_server.url, op_timeout=5.0)
    bucket = bucket_of("t")
    epochs = []
    with redis.Redis.from_url(own_redis_server.url) as client:
        for name in ("a", "b"):
            space = KeySpace(f"{namespace}-{name}")
            client.mset({space.epoch(bucket): "rolled back", space.sequence(bucket): "7"})
            client.set(space.run(bucket), "another run")
            store = RedisStore(gateway, space)
            epochs.append(store.begin({}, ["t"], b"12345678", 60.0).versions.epochs[bucket])
            assert client.get(space.run(bucket)).decode() == client.info("server")["run_id"]
    assert b"rolled back" not in epochs


def test_a_lease_that_a_step_of_the_clock_prolonged_is_not_waited_for(make_cache, redis_url):
    """The clock of Redis is set back while a lease is held: who waits looks again after its usual life."""
    store, space = (made := connected(make_cache(redis_url))).runtime.store, made.runtime.keyspace
    with redis.Redis.from_url(redis_url) as client:
        client.set(space.lease("k"), b"somebody", px=3_600_000 + LEASE_MS)
    assert store.begin({"k": b""}, (), b"12345678", 60.0).busy == {"k": LEASE_MS / 1000}


def test_what_is_not_a_request_may_take_longer(make_gateway, proxy):
    """Administrative commands, and connecting for them, have `timeout`, however short `op_timeout` is."""
    gateway = make_gateway(proxy.url, op_timeout=0.05, timeout=30.0)
    proxy.delay(0.2)
    with budget(30.0, administrative=True):
        assert gateway.run([("ECHO", "x")]) == [b"x"]
