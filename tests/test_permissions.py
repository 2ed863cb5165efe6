"""Managed servers forbid commands; these are all that the cache needs, and it works with just them."""

from __future__ import annotations

import re
from pathlib import Path

from cache_ext import MISS, CachePolicy
from cache_ext.explain.explaining import explain_key
from cache_ext.stats.reporting import report_of
from cache_ext.transport.breaker import State
from tests.caches import connected
from tests.waiting import until

ENGINE = Path(__file__).parent.parent / "docs" / "engine.md"
USER = "cache"
PASSWORD = "a-password-that-nobody-guesses"


def rules() -> list[str]:
    """Return the rules of the ACL in the docs."""
    (text,) = re.findall(r"^ACL SETUSER cache on >secret (.*)$", ENGINE.read_text(), re.MULTILINE)
    return text.replace("shop:", "test-").split()


def test_the_cache_works_with_the_permissions_in_the_docs(make_cache, own_redis_server):
    """Reads, loads, invalidations, previews and the backplane, by a user who may do nothing else."""
    assert own_redis_server.ask(f"ACL SETUSER {USER} on >{PASSWORD} {' '.join(rules())}") == b"+OK"
    one, two = (
        connected(make_cache(own_redis_server.url, redis_username=USER, redis_password=PASSWORD))
        for _ in range(2)
    )
    policy = CachePolicy(ttl=60, compress_above=10)
    for cache in (one, two):
        assert cache.get_or_load("k", lambda: "x" * 100, policy=policy, tags=["t"]) == "x" * 100
    assert one.preview("t").matched == 1
    assert one.invalidate_tags("t", soft=True).applied
    assert one.invalidate_tags("t").applied
    until(lambda: two.get("k") is MISS, "the other has heard")
    one.set("k", 1)
    assert one.delete("k").applied
    assert one.clear().applied
    came = []
    two.hooks.on("arrived")(came.append)
    one.hooks.emit("arrived", ["apples"])
    until(lambda: came, "the hook has run")
    for cache in (one, two):
        cache.runtime.stats.tick()
    told = report_of(one)
    assert (told.complete, len(told.processes), told.keys_share) == (True, 2, 1.0)
    assert explain_key(one, "k").complete
    denied = own_redis_server.ask("ACL LOG")
    assert denied in (b"*0", b"*-1")


def test_without_the_permissions_for_stats_the_cache_works(make_cache, own_redis_server):
    """A user who was made before there were any: Redis is not given up, and each process knows itself."""
    old = " ".join(rules()).partition("+type")[0]
    assert own_redis_server.ask(f"ACL SETUSER {USER} on >{PASSWORD} {old}") == b"+OK"
    cache = connected(make_cache(own_redis_server.url, redis_username=USER, redis_password=PASSWORD))
    for number in range(10):
        cache.runtime.stats.tick()
        assert cache.get_or_load(f"k{number}", lambda: 1, ttl=60) == 1
    assert cache.gateway.breaker.state is State.CLOSED
    told = report_of(cache)
    assert (told.complete, told.total.misses) == (False, 10)


def test_the_permissions_in_the_docs_are_few():
    """Nothing that walks, empties or configures a server is among them, but SCAN for previews."""
    allowed = {rule[1:].split("|")[0] for rule in rules() if rule.startswith("+")}
    assert allowed.isdisjoint(
        {"@all", "keys", "flushdb", "flushall", "config", "debug", "client", "shutdown"}
    )
