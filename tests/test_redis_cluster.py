"""The Redis Cluster that tests run against forms, moves slots and fails over, as redis-py sees it."""

from __future__ import annotations

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster

from tests.cluster import PRIMARIES, Cluster, slot_of

REPLICAS = PRIMARIES


def client_of(cluster: Cluster) -> RedisCluster:
    """Return a client that knows two nodes at first."""
    known = [ClusterNode("127.0.0.1", node.port) for node in cluster.nodes[:2]]
    return RedisCluster(startup_nodes=known, decode_responses=True, password=cluster.password or None)


def test_three_primaries_share_all_slots(shared_cluster: Cluster, namespace: str) -> None:
    """Each has one replica and a key of its own; a client that knows two nodes finds all."""
    shape = shared_cluster.shape()
    assert [primary for primary, _, _ in shape] == shared_cluster.primaries == shared_cluster.nodes[:3]
    assert {replica for _, replicas, _ in shape for replica in replicas} == {*shared_cluster.nodes[3:]}
    assert sum(last - first + 1 for _, _, ranges in shape for first, last in ranges) == 16384
    assert shared_cluster.url == "redis+cluster://" + ",".join(
        f"127.0.0.1:{node.port}" for node in shared_cluster.nodes[:2]
    )
    with client_of(shared_cluster) as client:
        assert len(client.get_primaries()) == PRIMARIES
        assert len(client.get_replicas()) == REPLICAS
        keys = [shared_cluster.key_on(node, namespace) for node in shared_cluster.primaries]
        for key, node in zip(keys, shared_cluster.primaries, strict=True):
            assert shared_cluster.primary_of(key) is node
            client.set(key, "here")
            with node.client() as straight:
                assert straight.get(key) == "here"
    with shared_cluster.nodes[0].client() as straight, pytest.raises(redis.ResponseError) as told:
        straight.mget(keys[:2])
    assert type(told.value).__name__ == "ClusterCrossSlotError"


@pytest.mark.parametrize("server_kind", ["redis"])
def test_a_slot_moves_under_a_client(start_cluster) -> None:
    """While it moves its owner says ASK for what has left, then MOVED; the client follows both."""
    cluster: Cluster = start_cluster()
    key = cluster.key_on(cluster.nodes[0])
    target = cluster.nodes[1]
    with client_of(cluster) as client, cluster.nodes[0].client() as old:
        client.set(key, "1")
        cluster.begin_move(key, target)
        assert old.get(key) == "1"
        assert cluster.carry(key, target) == 1
        with pytest.raises(
            redis.ResponseError, match=rf"^{slot_of(key)} 127\.0\.0\.1:{target.port}$"
        ) as told:
            old.get(key)
        assert type(told.value).__name__ == "AskError"
        assert client.get(key) == "1"
        cluster.end_move(key, target)
        with pytest.raises(redis.ResponseError) as told:
            old.get(key)
        assert type(told.value).__name__ == "MovedError"
        assert client.get(key) == "1"
        assert cluster.primary_of(key) is target


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_replica_takes_over_by_command_and_when_its_primary_dies(start_cluster) -> None:
    """What was written is there; who comes back replicates the new primary; a password is no obstacle."""
    cluster: Cluster = start_cluster(password="s3cret")
    key = cluster.key_on(cluster.nodes[2])
    with client_of(cluster) as client:
        client.set(key, "1")
        first = cluster.fail_over(key)
        cluster.until_healthy()
        assert (first, client.get(key)) == (cluster.nodes[5], "1")
        first.kill()
        second = cluster.until_taken_over(key, first)
        assert (second, client.get(key)) == (cluster.nodes[2], "1")
        first.start()
        cluster.until_healthy()
        assert cluster.replicas_of(key) == [first]
        second.pause()
        assert cluster.until_taken_over(key, second) is first
        second.resume()
        cluster.until_healthy()
        cluster.move(key, cluster.nodes[0])
        assert client.get(key) == "1"
        cluster.empty()
        assert client.get(key) is None


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_without_full_coverage_the_other_slots_stay(start_cluster) -> None:
    """With a primary and its replica gone, what others own is still served."""
    cluster: Cluster = start_cluster(full_coverage=False, node_timeout_ms=500)
    lost, kept = (cluster.key_on(node) for node in cluster.nodes[:2])
    for node in (cluster.nodes[0], cluster.nodes[3]):
        node.kill()
    cluster.until_known_down(lost)
    with cluster.nodes[1].client() as client:
        assert client.set(kept, "1")
        assert client.cluster("INFO")["cluster_state"] == "ok"
