"""What is to survive a server is answered once replicas have it, and not before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cache_ext import TieredCache
from cache_ext.errors import StoreUnavailable
from shivx.identity import Tier
from tests.accounts_stage import PASSWORD
from tests.caches import connected
from tests.cluster import Cluster
from tests.market_stage import open_site, settings_for
from tests.sentinels import Sentinels

Open = Callable[..., TieredCache]
SCRIPT = "redis.call('SET', KEYS[1], ARGV[1]) return 1"


@pytest.fixture
def server_kind() -> str:
    """Which server it is makes no difference."""
    return "valkey"


def written(cache: TieredCache, *buckets: int) -> list[object]:
    """Write in *buckets*, by a script that no server has seen, and have replicas wait for it."""
    name = cache.gateway.register_script(SCRIPT)
    places = [cache.runtime.keyspace.place(bucket, "kept") for bucket in buckets]
    return cache.gateway.run_kept([("EVALSHA", name, 1, place, "v") for place in places])


def test_a_primary_and_its_replica(make_cache: Open, start_sentinels: Callable[..., Sentinels]) -> None:
    """The replica has it by then; without a replica in time it is no success."""
    rig = start_sentinels()
    cache = connected(make_cache(rig.url, wait_replicas=1))
    assert written(cache, 0) == [1]
    with rig.replicas[0].client() as client:
        assert client.get(cache.runtime.keyspace.place(0, "kept")) == "v"
    rig.replicas[0].pause()
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        written(cache, 0)
    assert cache.gateway.breaker.state == "closed"
    assert connected(make_cache(rig.url)).gateway.run_kept([("INCR", "n")]) == [1], "nobody asked for it"


def test_sessions_wait(start_sentinels: Callable[..., Sentinels], namespace: str, tmp_path: Path) -> None:
    """Who logs in or out is told of success only once the replica knows."""
    rig = start_sentinels()
    settings = settings_for(
        rig.url, cache_namespace=namespace, instance_dir=tmp_path, redis_wait_replicas=1, limit_anonymous=1000
    )
    with open_site(settings) as site:
        site.services.access.accounts.create("root", Tier.ADMIN, PASSWORD)
        client, identity = site.app.test_client(), {"username": "root", "password": PASSWORD}
        assert client.post("/api/auth/login", json=identity).status_code == 200
        rig.replicas[0].pause()
        assert client.post("/api/auth/logout").status_code == 503
        assert site.app.test_client().post("/api/auth/login", json=identity).status_code == 503
        assert client.get("/api/market/pairs").status_code == 200


def test_all_primaries_of_a_cluster(make_cache: Open, start_cluster: Callable[..., Cluster]) -> None:
    """Each is waited for that something was written on; one whose replica is late is enough to fail."""
    cluster = start_cluster()
    cache = connected(make_cache(cluster.url, wait_replicas=1))
    assert written(cache, *range(32)) == [1] * 32
    place = cache.runtime.keyspace.place(0, "kept")
    late = cluster.replicas_of(place)[0]
    with late.client() as client:
        client.execute_command("READONLY")
        assert client.get(place) == "v"
    late.pause()
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        written(cache, *range(32))
    elsewhere = next(
        bucket
        for bucket in range(32)
        if late not in cluster.replicas_of(cache.runtime.keyspace.place(bucket, "kept"))
    )
    assert written(cache, elsewhere) == [1]
