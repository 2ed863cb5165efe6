"""A replica takes over that had not heard of the last invalidations: nothing of what it holds counts."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from cache_ext import MISS, CachePolicy
from cache_ext.testing import FaultProxy
from tests.caches import connected
from tests.waiting import until

AT_ONCE = ("--repl-diskless-sync-delay", "0")
"""Do not wait for more replicas before the first is sent everything."""
PLAIN = CachePolicy(ttl=60, early_refresh=False)


def port_of(server):
    """Return where *server* listens."""
    return urlsplit(server.url).port


def replicated(primary, replica, key="beacon"):
    """Return when *replica* has all that *primary* has now."""
    primary.ask(f"SET {key} 1")
    until(lambda: replica.ask(f"EXISTS {key}") == b":1", "the replica has it")


def hears_anew(cache, generation):
    """Return when *cache* hears another server than in *generation*: its older copies count no more."""
    until(lambda: cache.runtime.trust.generation > generation, "it hears the new primary")


@pytest.mark.parametrize("change", ["invalidate", "delete", "clear", "set"])
def test_what_the_new_primary_did_not_hear_of_does_not_come_back(make_cache, start_redis, change):
    """An applied change that replication lost: the old value is a miss, for all, from L1 and from Redis."""
    primary, replica = start_redis(*AT_ONCE), start_redis(*AT_ONCE)
    replica.ask(f"REPLICAOF 127.0.0.1 {port_of(primary)}")
    with FaultProxy(primary.url) as proxy:
        url = proxy.url
        one, two = connected(make_cache(url)), connected(make_cache(url))
        for cache in (one, two):
            assert cache.get_or_load("k", lambda: "old", policy=PLAIN, tags=["t"]) == "old"
        replicated(primary, replica)
        replica.ask("REPLICAOF NO ONE")  # the partition: what comes now is lost with the primary
        act = {
            "invalidate": lambda: one.invalidate_tags("t"),
            "delete": lambda: one.delete("k"),
            "clear": one.clear,
            "set": lambda: one.set("k", "new", policy=PLAIN, tags=["t"]),
        }
        act[change]()
        generations = [cache.runtime.trust.generation for cache in (one, two)]
        proxy.retarget("127.0.0.1", port_of(replica))
        primary.kill()
        proxy.cut()
        three = make_cache(url)
        until(three.gateway.probe, "the new primary answers")
        assert three.get("k") is MISS
        for cache, generation in zip((one, two), generations, strict=True):
            until(cache.gateway.probe, "the new primary answers")
            hears_anew(cache, generation)
            assert cache.get_or_load("k", lambda: "newer", policy=PLAIN, tags=["t"]) in ("new", "newer")
            assert cache.invalidate_tags("u").applied


def test_values_of_the_old_primary_serve_again_once_loaded(make_cache, start_redis):
    """After the failover entries are shared again, and epochs are replaced once, not by each connection."""
    primary, replica = start_redis(*AT_ONCE), start_redis(*AT_ONCE)
    replica.ask(f"REPLICAOF 127.0.0.1 {port_of(primary)}")
    with FaultProxy(primary.url) as proxy:
        url = proxy.url
        one = connected(make_cache(url))
        one.set("k", "old", ttl=60)
        replicated(primary, replica)
        replica.ask("REPLICAOF NO ONE")
        generation = one.runtime.trust.generation
        proxy.retarget("127.0.0.1", port_of(replica))
        primary.kill()
        proxy.cut()
        until(one.gateway.probe, "the new primary answers")
        hears_anew(one, generation)
        assert one.get_or_load("k", lambda: "new", ttl=60) == "new"
        others = [connected(make_cache(url)) for _ in range(3)]
        assert [other.get("k") for other in others] == ["new"] * 3
