"""What the ways to several servers depend on, piece by piece."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.connection import parse_url
from redis.exceptions import ConnectionError

from cache_ext import MISS, CachePolicy, CacheSettings, TieredCache
from cache_ext.keys import bucket_of
from cache_ext.transport.breaker import CircuitBreaker
from cache_ext.transport.greeting import Reception, Users
from cache_ext.transport.sentinels import Sentinels as Watched
from cache_ext.transport.server import Server
from tests.caches import connected
from tests.cluster import Cluster
from tests.sentinels import Sentinels
from tests.servers import RunningServer
from tests.waiting import until

Open = Callable[..., TieredCache]
PLAIN = CachePolicy(ttl=600, early_refresh=False)
IDLE = 5


@pytest.fixture
def server_kind() -> str:
    """Which server it is makes no difference."""
    return "valkey"


def test_connections_to_a_primary_that_was_replaced_are_not_used(
    make_cache: Open, start_sentinels: Callable[..., Sentinels]
) -> None:
    """Though they are open, and the old primary, which hung for a while, still answers as one."""
    rig = start_sentinels()
    server = connected(make_cache(rig.url)).gateway.way.server
    for connection in [server.take(time.monotonic() + 5) for _ in range(IDLE)]:
        server.give_back(connection)
    old = rig.primary
    old.pause()
    new = rig.until_taken_over(old)
    old.resume()
    until(lambda: server.pool.era > 1, "it is known here")
    taken = [server.take(time.monotonic() + 5) for _ in range(IDLE)]
    assert {connection.port for connection in taken} == {new.port}
    for connection in taken:
        server.give_back(connection)


def test_a_replica_is_no_primary(start_redis: Callable[..., RunningServer]) -> None:
    """Who was told that a server is one asks it, on each new connection."""
    primary, replica = start_redis(), start_redis()
    replica.ask(f"REPLICAOF 127.0.0.1 {primary.port}")
    settings = CacheSettings(op_timeout=5.0)
    for wanted in (primary, replica):
        reception = Reception(Users(), time.monotonic, 5.0, primary=True)
        server = Server(parse_url(wanted.url), settings, reception, time.monotonic)
        if wanted is primary:
            server.give_back(server.take(time.monotonic() + 5))
        else:
            with pytest.raises(ConnectionError, match="replica"):
                server.take(time.monotonic() + 5)
        server.pool.disconnect()


class Telling:
    """A sentinel that says the same each time."""

    def __init__(self, epoch: int, port: int, down: bool = False) -> None:
        self._said = {"ip": "10.0.0.1", "port": port, "config-epoch": epoch}
        self._down = down

    def sentinel_master(self, service: str) -> dict[str, Any]:
        """Return its word."""
        return {**self._said, "is_sdown": self._down, "is_odown": False}


@pytest.mark.parametrize(
    ("words", "port", "sure"),
    [
        ([Telling(1, 1), Telling(1, 1), Telling(1, 1)], 1, True),
        ([Telling(1, 1), Telling(2, 2), Telling(1, 1)], 2, True),  # who is behind hears of it within seconds
        ([Telling(1, 1, True), Telling(1, 1, True), Telling(1, 1)], 1, False),
        ([Telling(2, 2, True), Telling(1, 1), Telling(1, 1)], 2, False),
        ([Telling(1, 1, True), Telling(1, 1), Telling(1, 1)], 1, True),
    ],
)
def test_the_newest_configuration_counts_if_a_majority_agrees(
    words: list[Any], port: int, sure: bool
) -> None:
    """Of several words that differ, and of primaries that some take for down."""
    sentinels = Watched(words, "service", time.monotonic)
    assert sentinels.ask()
    assert sentinels.address is not None
    assert (sentinels.address.port, sentinels.sure) == (port, sure)
    assert not sentinels.ask(), "nothing new"


def test_what_was_in_a_slot_that_moved_is_loaded_again(
    make_cache: Open, start_cluster: Callable[..., Cluster]
) -> None:
    """Its bucket is adopted by the node that has it now, as after a restart."""
    cluster = start_cluster()
    cache = connected(make_cache(cluster.url))
    cache.set("k", "value", policy=PLAIN)
    place = cache.runtime.keyspace.value("k")
    epoch = cache.gateway.run([("GET", cache.runtime.keyspace.epoch(bucket_of("k")))])
    target = next(node for node in cluster.primaries if node is not cluster.primary_of(place))
    cluster.move(place, target)
    cache.runtime.near.clear()
    assert cache.get("k") is MISS
    assert cache.gateway.run([("GET", cache.runtime.keyspace.epoch(bucket_of("k")))]) != epoch


def test_replicas_are_waited_for_after_a_script_was_sent_again(
    make_cache: Open, start_cluster: Callable[..., Cluster], start_sentinels: Callable[..., Sentinels]
) -> None:
    """What a server that had forgotten the script was asked at first was written by nobody."""
    for url in (start_sentinels().url, start_cluster().url):
        cache = connected(make_cache(url, wait_replicas=1, monitoring=False))
        name = cache.gateway.register_script("redis.call('SET', KEYS[1], 'v') return 1")
        place = cache.runtime.keyspace.place(0, "kept")
        server, sent = cache.gateway.way.server_of(place), []
        send = server.send

        def sending(
            connection: Any, commands: Any, deadline: float, send: Any = send, sent: Any = sent
        ) -> None:
            sent.append([command[0] for command in commands])
            send(connection, commands, deadline)

        server.send = sending  # type: ignore[method-assign]
        assert cache.gateway.run_kept([("EVALSHA", name, 1, place)]) == [1]
        assert [each for each in sent if "WAIT" in each] == [["EVALSHA", "WAIT"], ["EVAL", "WAIT"]]


def test_a_circuit_can_be_told_to_probe_at_once() -> None:
    """Where the store has come to be elsewhere nobody waits for the cooldown's end."""
    breaker = CircuitBreaker(1, 60.0, time.monotonic)
    breaker.failure("gone")
    assert not breaker.probe_due()
    breaker.hurry()
    assert breaker.probe_due()
