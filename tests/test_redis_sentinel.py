"""The Sentinels that tests run against form and fail over, as redis-py's own client sees it."""

from __future__ import annotations

import pytest
import redis
from redis.sentinel import Sentinel

from tests.certificates import Certificates
from tests.sentinels import SERVICE, Sentinels
from tests.servers import RunningServer


def client_of(rig: Sentinels) -> Sentinel:
    """Return a client that knows all sentinels."""
    safe = {"ssl": True, "ssl_ca_certs": str(rig.tls.authority)} if rig.tls else {}
    return Sentinel(
        [("127.0.0.1", each.port) for each in rig.sentinels],
        sentinel_kwargs={"password": rig.sentinel_password or None, **safe},
        username=rig.user or None,
        password=rig.password or None,
        decode_responses=True,
        **safe,
    )


def named(client: Sentinel, rig: Sentinels) -> RunningServer:
    """Return the server that the client finds as primary."""
    _, port = client.discover_master(SERVICE)
    return next(server for server in rig.servers if server.port == port)


def close(client: Sentinel) -> None:
    """End the connections to sentinels, which nothing of redis-py does."""
    for each in client.sentinels:
        each.close()


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_replica_takes_over_and_who_was_away_follows(start_sentinels) -> None:
    """By command, for a dead primary and for one that hangs; what replicas had stays."""
    rig: Sentinels = start_sentinels(replicas=2)
    client = client_of(rig)
    with client.master_for(SERVICE) as service:
        service.set("k", "1")
        assert service.wait(2, 10_000) == 2
        assert named(client, rig) is rig.primary is rig.servers[0]
        second = rig.fail_over()
        rig.until_healthy()
        assert second is rig.primary is named(client, rig) is not rig.servers[0]
        assert rig.servers[0] in rig.replicas
        second.kill()
        third = rig.until_taken_over(second)
        assert service.get("k") == "1"
        second.start()
        rig.until_healthy()
        third.pause()
        fourth = rig.until_taken_over(third)
        assert named(client, rig) is fourth
        third.resume()
        rig.until_healthy()
        assert {*rig.replicas} == {*rig.servers} - {fourth}
        assert service.get("k") == "1"
    close(client)


@pytest.mark.parametrize("server_kind", ["redis"])
def test_servers_and_sentinels_ask_for_passwords_and_speak_tls(
    start_sentinels, certificates: Certificates
) -> None:
    """An ACL user with a password, sentinels with another, all by TLS; a wrong password is refused."""
    rig: Sentinels = start_sentinels(
        password="s@e/cret", user="worker", sentinel_password="watch", tls=certificates
    )
    assert rig.url.startswith("redis+sentinel://worker:s%40e%2Fcret@127.0.0.1:")
    assert rig.url.endswith(f"/{SERVICE}")
    client = client_of(rig)
    with client.master_for(SERVICE) as service:
        service.set("k", "1")
        assert service.acl_whoami() == "worker"
        assert service.wait(1, 10_000) == 1
        rig.primary.kill()
        rig.until_taken_over(rig.servers[0])
        assert service.get("k") == "1"
    close(client)
    trusting = {"ssl_ca_certs": str(certificates.authority)}
    with (
        redis.Redis.from_url(rig.primary.url, **trusting) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.get("k")
    with (
        redis.Redis(port=rig.sentinels[0].port, ssl=True, **trusting) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.sentinel_masters()
    with redis.Redis(port=rig.primary.port, retry=None) as plain, pytest.raises(redis.ConnectionError):
        plain.ping()


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_sentinel_that_was_away_hears_of_the_failover(start_sentinels) -> None:
    """Two of three are enough for one; the third finds the new primary when it is back."""
    rig: Sentinels = start_sentinels()
    away = rig.sentinels[0]
    away.kill()
    rig.primary.kill()
    rig.until_taken_over(rig.servers[0])
    away.start()
    assert rig.until_taken_over(rig.servers[0]) is rig.servers[1]
    rig.servers[0].start()
    rig.until_healthy()
