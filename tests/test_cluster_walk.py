"""Everything that engine and service send, through a real cluster: it refuses nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import AskError, NoScriptError, ResponseError

from cache_ext.hooks import running
from cache_ext.limits.counting import Debt
from cache_ext.stats.keys import count_keys
from cache_ext.stats.redis_facts import redis_facts
from cache_ext.transport.server import Server
from tests.caches import connected
from tests.cluster import Cluster
from tests.engine_tour import MANY, use_everything
from tests.openapi_tour import opened, tour
from tests.servers import RunningServer
from tests.test_cdn_debts import debts_of
from tests.test_limits_together import limiter_on, many

EXPECTED = (AskError, NoScriptError)
"""Errors that say where to go on (MOVED is one of them), or to send a script's text."""


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every reply of every node, as it comes, with the command it answers."""
    found: list[Any] = []
    send, receive = Server.send, Server.receive

    def sending(self: Server, connection: Any, commands: Any, deadline: float) -> None:
        connection.asked = list(commands)
        send(self, connection, commands, deadline)

    def receiving(self: Server, connection: Any, count: int, deadline: float) -> list[Any]:
        replies = receive(self, connection, count, deadline)
        found.extend(zip(connection.asked, replies, strict=True))
        return replies

    monkeypatch.setattr(Server, "send", sending)
    monkeypatch.setattr(Server, "receive", receiving)
    return found


def refused(replies: list[Any]) -> list[Any]:
    """Return the errors among *replies* that nobody should get, with the beginning of each command."""
    return [
        (command[:3], str(reply))
        for command, reply in replies
        if isinstance(reply, ResponseError) and not isinstance(reply, EXPECTED)
    ]


def memory_of(node: RunningServer) -> int:
    """Return the bytes that *node* uses."""
    with node.client() as client:
        return int(client.info("memory")["used_memory"])


def test_all_that_engine_and_service_send(
    make_cache: Any,
    shared_cluster: Cluster,
    replies: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    namespace: str,
    tmp_path: Path,
) -> None:
    """Every script there is, and each command: each is taken, as its keys lie in one slot."""
    monkeypatch.setattr(running, "LOOK", 0.02)
    monkeypatch.setattr(running, "PAUSES", (0.01,))
    cache = connected(make_cache(shared_cluster.url, secret_keys=("s" * 32,)))
    use_everything(cache)
    assert cache.get_or_load_many(MANY, dict.fromkeys) == dict.fromkeys(MANY)
    assert count_keys(cache.gateway, cache.runtime.keyspace).keys >= len(MANY)
    facts = redis_facts(cache.gateway)
    assert facts.role == "master"
    assert facts.memory_bytes > max(memory_of(node) for node in shared_cluster.primaries)
    debts = debts_of(cache, time.monotonic)
    debts.owe({f"name{number}" for number in range(100)})
    debts.overdue()
    limiter = limiter_on(cache)
    checks = many(limiter)
    assert sorted(answer.left for answer in limiter._counts.ask(checks)) == [7] * 200 + [8] * 200
    limiter._counts.merge([Debt(each.bucket, each.place, each.width_ms, [(1, 1)]) for each in checks[:200]])
    with opened(shared_cluster.url, f"{namespace}-site", tmp_path) as site:
        statuses = {operation: response.status_code for operation, response in tour(site)}
        gateway = site.services.cache.gateway
        assert {name: status for name, status in statuses.items() if status >= 500} == {}
    assert refused(replies) == []
    run = {str(command[1]) for command, _ in replies if command[0] == "EVALSHA"}
    known = {**cache.gateway._scripts, **gateway._scripts}
    assert [known[name][:60] for name in known.keys() - run] == []
