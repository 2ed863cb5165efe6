"""A cache on the primary that real sentinels name: found, and left as soon as they name another."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from cache_ext import MISS, CachePolicy, TieredCache
from cache_ext.errors import StoreUnavailable
from cache_ext.transport.breaker import State
from cache_ext.transport.sentinels import CONFIRMED
from tests.caches import connected
from tests.certificates import Certificates
from tests.openapi_tour import opened, tour
from tests.sentinels import SERVICE, Sentinels
from tests.waiting import until

PLAIN = CachePolicy(ttl=600, early_refresh=False)
Open = Callable[..., TieredCache]
Start = Callable[..., Sentinels]
only_valkey = pytest.mark.parametrize("server_kind", ["valkey"])
only_redis = pytest.mark.parametrize("server_kind", ["redis"])


def answers(cache: TieredCache) -> bool:
    """Tell whether Redis answers *cache*."""
    try:
        cache.gateway.run([("PING",)])
    except StoreUnavailable:
        return False
    return True


def stored(cache: TieredCache, value: str) -> None:
    """Have a key in Redis."""
    assert cache.get_or_load("k", lambda: value, policy=PLAIN, tags=["t"]) == value


@pytest.mark.parametrize("server_kind", ["valkey", "redis"])
@pytest.mark.parametrize("end", ["kill", "pause"])
def test_a_replica_takes_over(make_cache: Open, start_sentinels: Start, end: str) -> None:
    """The primary is killed, or hangs and wakes as an old one: served anew, nothing outdated comes back."""
    rig = start_sentinels()
    one, two = connected(make_cache(rig.url)), connected(make_cache(rig.url))
    stored(one, "old")
    assert two.get("k") == "old"
    old = rig.primary
    getattr(old, end)()
    assert one.get_or_load("else", lambda: "loaded") == "loaded"
    one.invalidate_tags("t")
    until(lambda: two.get("k") is MISS, "no copy is trusted", 3.0)
    rig.until_taken_over(old)
    until(lambda: answers(one) and answers(two), "served again")
    connected(one), connected(two)
    assert one.get("k") is two.get("k") is MISS
    stored(one, "new")
    assert two.get("k") == "new"
    if end == "pause":
        old.resume()
        assert two.get("k") == "new"
        rig.until_healthy()
    assert two.invalidate_tags("t").applied
    until(lambda: one.get("k") is MISS, "the other hears", 2.0)


@only_valkey
def test_a_failover_by_command(make_cache: Open, start_sentinels: Start) -> None:
    """The old primary lives on and answers, as a replica: nobody asks it any more."""
    rig = start_sentinels()
    cache = connected(make_cache(rig.url))
    stored(cache, "old")
    new = rig.fail_over()
    until(lambda: answers(cache) and cache.gateway.run([("INFO", "server")]), "served again")
    until(lambda: str(new.port) in str(cache.gateway.run([("CONFIG", "GET", "port")])), "by the new primary")
    connected(cache)
    stored(cache, "new")


@only_valkey
def test_who_comes_with_names_and_passwords(make_cache: Open, start_sentinels: Start) -> None:
    """Servers and sentinels each ask for their own; without it nobody is let in."""
    rig = start_sentinels(password="p@ss/w:rd", user="desk", sentinel_password="s%cret")
    url = f"{rig.url}?sentinel_password={quote('s%cret', safe='')}"
    stored(connected(make_cache(url)), "value")
    for wrong in (rig.url, url.replace("desk", "dusk")):
        assert make_cache(wrong, op_timeout=0.5).get_or_load("k", lambda: "origin") == "origin"
    place, _, rest = url.partition("desk:")
    bare = f"{place}{rest.partition('@')[2]}"
    cache = connected(make_cache(bare, redis_username="desk", redis_password="p@ss/w:rd"))
    assert cache.get("k") == "value"


@only_redis
def test_tls(make_cache: Open, start_sentinels: Start, certificates: Certificates) -> None:
    """Sentinels and servers are reached by TLS, and believed for their certificates only."""
    rig = start_sentinels(tls=certificates)
    url = rig.url.replace("redis+", "rediss+")
    trusted = f"{url}?ssl_ca_certs={quote(str(certificates.authority), safe='')}"
    stored(connected(make_cache(trusted)), "value")
    assert make_cache(url, op_timeout=0.5).get_or_load("k", lambda: "origin") == "origin"
    old = rig.primary
    old.kill()
    rig.until_taken_over(old)
    cache = connected(make_cache(trusted))
    assert cache.invalidate_tags("t").applied


@only_valkey
def test_sentinels_that_hang_or_are_gone(make_cache: Open, start_sentinels: Start) -> None:
    """One that hangs is no harm; without a majority nothing is trusted, and with one all goes on."""
    rig = start_sentinels()
    cache = connected(make_cache(rig.url))
    stored(cache, "value")
    rig.sentinels[0].pause()
    sure = time.monotonic() + 3 * CONFIRMED
    while time.monotonic() < sure:
        assert cache.get("k") == "value"
    rig.sentinels[1].kill()
    until(lambda: not answers(cache), "no majority knows the primary", 5.0)
    until(lambda: cache.runtime.trust.live_until < time.monotonic(), "no copy is trusted")
    assert cache.get_or_load("else", lambda: "origin") == "origin"
    rig.sentinels[0].resume()
    connected(cache)
    assert cache.invalidate_tags("t").applied


@only_valkey
def test_the_service(start_sentinels: Start, namespace: str, tmp_path: Path) -> None:
    """Limits, sessions, events and all that admins ask go the same way."""
    rig = start_sentinels(password="secret")
    with opened(rig.url, namespace, tmp_path) as site:
        breaker = site.services.cache.gateway.breaker
        until(lambda: breaker.state is State.CLOSED, "Redis is there")
        told = {operation: response.status_code for operation, response in tour(site)}
    assert {name: status for name, status in told.items() if status >= 500} == {}
    with rig.primary.client() as client:
        kinds = {name.split(":")[3] for name in client.scan_iter(f"{namespace}:*x:*")}
    assert told["listSessions"] == 200
    assert "limit" in kinds


@only_valkey
def test_a_service_that_nobody_watches(make_cache: Open, start_sentinels: Start) -> None:
    """Answers come from the origin, and the log says which service no sentinel knows."""
    rig = start_sentinels()
    cache = make_cache(rig.url.replace(SERVICE, "another"), op_timeout=0.3)
    assert cache.get_or_load("k", lambda: "origin") == "origin"
    assert not cache.gateway.probe()
