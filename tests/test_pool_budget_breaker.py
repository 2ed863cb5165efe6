"""The way to Redis: a pool that blocks, a budget for a whole request, a breaker with one probe."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import redis

from cache_ext import CircuitOpen, StoreUnavailable
from cache_ext.settings import CacheSettings
from cache_ext.transport.breaker import CircuitBreaker, State
from cache_ext.transport.budget import budget, current_budget, unbudgeted
from cache_ext.transport.connection import RedisGateway
from cache_ext.transport.pooling import _is_at_rest
from tests.caches import all_at_once, begin, connected
from tests.waiting import until

FAILURES, COOLDOWN = 3, 5.0


@pytest.fixture
def breaker(clock):
    """A closed circuit."""
    return CircuitBreaker(FAILURES, COOLDOWN, clock.monotonic)


@pytest.fixture
def open_breaker(breaker):
    """An open circuit."""
    for _ in range(FAILURES):
        breaker.failure("down")
    return breaker


@pytest.fixture
def make_gateway(redis_url):
    """Open gateways to the server."""
    opened = []

    def make(**settings):
        made = CacheSettings(**{"redis_url": redis_url, **settings})
        opened.append(RedisGateway(made, CircuitBreaker(FAILURES, COOLDOWN, time.monotonic)))
        return opened[-1]

    yield make
    for gateway in opened:
        gateway.close()


def test_a_closed_circuit_lets_everyone_through(breaker):
    """Nothing is refused before the last failure that is allowed."""
    for _ in range(FAILURES - 1):
        breaker.failure("down")
    breaker.check()
    assert breaker.state is State.CLOSED


def test_failures_in_a_row_open_the_circuit(open_breaker):
    """From then on nobody asks, and is told when the next probe is due."""
    assert open_breaker.state is State.OPEN
    with pytest.raises(CircuitOpen) as caught:
        open_breaker.check()
    assert caught.value.retry_after == COOLDOWN


def test_a_success_in_between_starts_the_count_again(breaker):
    """Only failures in a row count."""
    for _ in range(10):
        for _ in range(FAILURES - 1):
            breaker.failure("slow")
        breaker.success()
    assert breaker.state is State.CLOSED


def test_no_probe_before_the_cooldown(open_breaker, clock):
    """The store is left alone until then."""
    clock.advance(COOLDOWN - 0.1)
    assert not open_breaker.probe_due()
    assert open_breaker.state is State.OPEN


def test_one_probe_a_cooldown(open_breaker, clock):
    """After the cooldown exactly one caller is told to probe; everyone else is still refused."""
    clock.advance(COOLDOWN)
    assert sum(all_at_once(16, lambda _: open_breaker.probe_due())) == 1
    assert open_breaker.state is State.HALF_OPEN
    with pytest.raises(CircuitOpen):
        open_breaker.check()


def test_a_good_probe_closes_the_circuit(open_breaker, clock):
    """And the failures are forgotten."""
    clock.advance(COOLDOWN)
    open_breaker.probe_due()
    open_breaker.probed(True)
    open_breaker.check()
    open_breaker.failure("once")
    assert open_breaker.state is State.CLOSED


def test_a_bad_probe_leaves_it_open_for_another_cooldown(open_breaker, clock):
    """The next probe is due a cooldown later."""
    clock.advance(COOLDOWN)
    open_breaker.probe_due()
    open_breaker.probed(False)
    clock.advance(COOLDOWN - 0.1)
    assert not open_breaker.probe_due()
    clock.advance(0.1)
    assert open_breaker.probe_due()


def test_a_stray_success_closes_nothing(open_breaker, clock):
    """An answer that was asked for before the circuit opened says nothing about now."""
    open_breaker.success()
    assert open_breaker.state is State.OPEN
    clock.advance(COOLDOWN)
    open_breaker.probe_due()
    open_breaker.success()
    assert open_breaker.state is State.HALF_OPEN


def test_a_stray_failure_does_not_disturb_the_probe(open_breaker, clock):
    """Nor does a late failure move the next probe."""
    clock.advance(COOLDOWN)
    open_breaker.failure("late")
    assert open_breaker.probe_due()


def test_a_small_pool_makes_callers_wait(make_gateway):
    """64 threads over 4 connections all get their answers."""
    gateway = make_gateway(pool_size=4, op_timeout=10.0)
    answers = all_at_once(64, lambda n: gateway.run([("ECHO", str(n))]))
    assert answers == [[str(number).encode()] for number in range(64)]
    assert len(gateway.way.server.pool._connections) <= 4


def test_a_cache_works_over_a_small_pool(make_cache, redis_url):
    """64 threads that load 64 keys over 4 connections, one of which listens."""
    cache = connected(make_cache(redis_url, pool_size=4, op_timeout=10.0))
    assert all_at_once(64, lambda n: cache.get_or_load(f"k{n}", lambda: n)) == list(range(64))
    assert connected(make_cache(redis_url)).get("k63") == 63


def test_waiting_for_a_connection_is_part_of_the_budget(make_gateway):
    """Nobody waits for a free connection longer than his budget lasts."""
    gateway = make_gateway(pool_size=1, pubsub=False, op_timeout=0.05, pool_timeout=60.0)
    taken = gateway.way.server.pool.get_connection()
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="No connection available"):
        gateway.run([("PING",)])
    assert time.monotonic() - started < 5.0
    gateway.way.server.pool.release(taken)
    assert gateway.run([("PING",)])


def test_a_request_spends_its_budget_once(own_redis_server, namespace):
    """However many commands a request sends to a hung server, they take no longer than its budget."""
    settings = CacheSettings(redis_url=own_redis_server.url, namespace=namespace, op_timeout=0.2)
    gateway = RedisGateway(settings, CircuitBreaker(1000, COOLDOWN, time.monotonic))
    gateway.run([("PING",)])
    own_redis_server.pause()
    started = time.monotonic()
    refused = 0
    with budget(0.2):
        for _ in range(20):
            with pytest.raises(StoreUnavailable) as caught:
                gateway.run([("PING",)])
            refused += "spent" in str(caught.value)
    assert time.monotonic() - started < 10 * 0.2  # were each to take it: twenty times
    assert refused == 19
    own_redis_server.resume()
    gateway.close()


def test_a_command_that_had_no_fair_chance_says_nothing_about_redis(own_redis_server, namespace):
    """Being cut off because others used up the budget does not open the circuit."""
    settings = CacheSettings(redis_url=own_redis_server.url, namespace=namespace, op_timeout=1.0)
    breaker = CircuitBreaker(1, COOLDOWN, time.monotonic)
    gateway = RedisGateway(settings, breaker)
    gateway.run([("PING",)])
    own_redis_server.pause()
    with budget(0.01), pytest.raises(StoreUnavailable):
        gateway.run([("PING",)])
    assert breaker.state is State.CLOSED
    own_redis_server.resume()
    gateway.close()


def test_a_budget_inside_another_is_the_outer_one():
    """A request's budget holds for everything inside it, loaders too; that of one call not for its loader."""
    with budget(1.0) as outer, budget(9.0, of_call=True) as inner, unbudgeted():
        assert current_budget() is inner is outer
    with budget(1.0, of_call=True), unbudgeted():
        assert current_budget() is None
    assert current_budget() is None


def test_replies_never_meet_the_wrong_command(make_gateway):
    """A connection on which an answer is still to come is not used again."""
    gateway = make_gateway(op_timeout=0.05, pool_size=1, pubsub=False)
    gateway.run([("PING",)])
    with pytest.raises(StoreUnavailable):
        gateway.run([("BLPOP", "nothing", "0.2")])
    assert gateway.run([("ECHO", "mine")]) == [b"mine"]


def test_a_line_that_the_server_has_closed_is_not_used_again(make_gateway):
    """A connection that ended while it was idle costs nobody a failure: it is replaced before it is used."""
    gateway = make_gateway(op_timeout=5.0, pool_size=2)
    for _ in range(2):  # the second time, the line has been looked at before
        (mine,) = gateway.run([("CLIENT", "ID")])
        make_gateway().run([("CLIENT", "KILL", "ID", mine)])
        assert gateway.run([("ECHO", "still here")]) == [b"still here"]


def test_a_new_line_is_watched_in_place_of_the_old(make_gateway):
    """What comes over a stranger's line that has the old one's number says nothing about the new one."""
    gateway = make_gateway()
    connection = gateway.way.server.pool.get_connection()
    assert _is_at_rest(connection)
    number = connection._sock.fileno()
    connection.disconnect()
    one, other = socket.socketpair()
    with one, other:
        assert number in (one.fileno(), other.fileno())
        one.send(b"x")
        other.send(b"x")
        connection.connect()
        assert _is_at_rest(connection)
    gateway.way.server.pool.release(connection)


def test_what_tls_has_decrypted_already_counts_as_come(make_gateway):
    """Nothing more comes over the line itself then."""

    class Decrypting(socket.socket):
        def pending(self):
            return 3

    gateway = make_gateway()
    connection = gateway.way.server.pool.get_connection()
    with Decrypting(fileno=connection._sock.detach()) as connection._sock:
        assert not _is_at_rest(connection)
        connection.disconnect()
    gateway.way.server.pool.release(connection)


def test_a_line_that_is_given_back_twice_is_there_once(make_gateway):
    """It is not handed out to two at once."""
    gateway = make_gateway(pool_size=1, pool_timeout=0.01, pubsub=False)
    connection = gateway.way.server.pool.get_connection()
    gateway.way.server.pool.release(connection)
    gateway.way.server.pool.release(connection)
    assert gateway.way.server.pool.get_connection() is connection
    with pytest.raises(redis.ConnectionError):
        gateway.way.server.pool.get_connection()
    gateway.way.server.pool.release(connection)


def test_what_nobody_asked_for_is_taken_for_nobodys_answer(make_gateway):
    """A connection on which something is left to read is not at rest, so it is not used as it is."""
    gateway = make_gateway(op_timeout=5.0, pool_size=2)
    connection = gateway.way.server.pool.get_connection()
    connection.send_command("ECHO", "left over")
    assert connection.can_read(5)
    gateway.way.server.pool.release(connection)
    assert gateway.run([("ECHO", "mine")]) == [b"mine"]


def test_an_error_reply_is_an_error_and_leaves_the_line_in_order(make_gateway):
    """A refused command fails its whole batch, and the connection is good for the next."""
    gateway = make_gateway(op_timeout=5.0)
    gateway.run([("SET", "text", "x")])
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        gateway.run([("LPUSH", "text", "y"), ("ECHO", "after")])
    assert gateway.run([("ECHO", "next")]) == [b"next"]


def test_only_one_thread_probes_in_the_background(make_cache, own_redis_server):
    """While the circuit is open no request reaches Redis; it closes by itself when Redis is back."""
    cache = connected(make_cache(own_redis_server.url, breaker_failures=1, breaker_cooldown=0.05))
    own_redis_server.kill()
    cache.get("k")
    breaker = cache.gateway.breaker
    until(lambda: breaker.state is not State.CLOSED, "the circuit is open")
    asked = []
    spend = cache.gateway._spend
    cache.gateway._spend = lambda *args: asked.append(threading.current_thread().name) or spend(*args)
    for number in range(50):
        cache.get_or_load(f"k{number}", int)
    assert set(asked) <= {"cache-ext-upkeep"}
    own_redis_server.start()
    until(lambda: breaker.state is State.CLOSED, "the circuit is closed")
    assert begin(lambda: cache.get_or_load("after", lambda: 1)).result(10) == 1
