"""The whole service behind a real Varnish, as docs/cdn.md sets it up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import free_port
from tests.servers import SharedServers
from tests.service import GUNICORN, GunicornService
from tests.varnish import Front

TOKEN = "a-token-for-purges"
PRICE, OTHER = "/api/market/price/SOL-USDC", "/api/market/price/BTC-USDC"
FLASK = GUNICORN.with_name("flask")
OF_ONE_CALLER = {
    "x-request-id",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "ratelimit",
    "ratelimit-policy",
}


@pytest.fixture(scope="module")
def stage(shared_servers: SharedServers, start_varnish) -> Iterator[tuple[Front, GunicornService]]:
    """The service, and a Varnish in front of it."""
    bind = f"127.0.0.1:{free_port()}"
    varnish = start_varnish(f"http://{bind}", TOKEN)
    env = {
        "SHIVX_CDN": "varnish",
        "SHIVX_CDN_PURGE_URL": varnish.url,
        "SHIVX_CDN_PURGE_TOKEN": TOKEN,
        "SHIVX_TRUSTED_PROXIES": "1",
        "SHIVX_CACHE_MARKET_PRICE_TTL": "600",
        "SHIVX_LIMIT_ANONYMOUS": "500",
    }
    with GunicornService(workers=2, bind=bind, env=env) as service:
        shared_servers.others.append(service)
        yield Front(varnish), service
        shared_servers.others.remove(service)


def test_a_price_is_kept_by_varnish_until_a_command_invalidates_it(stage):
    """The command's own process sees to the purge before it ends; other pairs stay."""
    front, service = stage
    kept = {path: front.get(path) for path in (PRICE, OTHER)}
    for path, (_, body) in kept.items():
        assert front.get(path) == ("HIT", body)
    done = service.run(FLASK, "cache", "invalidate", "--tag", "pair:simulated:SOL-USDC")
    assert done.returncode == 0, done.stderr
    assert front.ask("GET", PRICE)[1]["cache-status"] != "varnish; hit"
    assert front.get(OTHER) == ("HIT", kept[OTHER][1])


def test_a_flush_purges_all(stage):
    """Every answer carries the name of everything."""
    front, service = stage
    for path in (PRICE, OTHER):
        front.get(path)
    done = service.run(FLASK, "cache", "flush", "--reason", "test")
    assert done.returncode == 0, done.stderr
    for path in (PRICE, OTHER):
        assert front.ask("GET", path)[1]["cache-status"] != "varnish; hit"


def test_a_hit_has_nothing_of_the_one_who_asked_before(stage):
    """No limit headers, no request id; and it costs no quota."""
    front, service = stage
    front.get(PRICE)
    before = service.get("/api/market/pairs").headers["X-RateLimit-Remaining"]
    for _ in range(5):
        _, headers, _ = front.ask("GET", PRICE)
        assert headers["x-cache"] == "HIT"
        assert not OF_ONE_CALLER & set(headers)
    assert int(service.get("/api/market/pairs").headers["X-RateLimit-Remaining"]) == int(before) - 1


def test_what_is_of_one_caller_goes_through(stage):
    """Errors and answers of the session are never kept, and have the caller's own limit."""
    front, _ = stage
    for path, status in (("/api/auth/me", 401), ("/api/market/price/XX-YY", 404)):
        for _ in range(2):
            found, headers, _ = front.ask("GET", path)
            assert (found, headers["x-cache"]) == (status, "MISS")
            assert "x-ratelimit-remaining" in headers


def test_the_client_s_address_is_the_one_that_varnish_saw(stage):
    """Whatever he says of himself: each address has its own limit."""
    front, _ = stage
    said = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "evil.example", "X-API-Key": ""}
    path = "/api/market/price/XX-YY"
    left = [
        int(front.ask("GET", path, said, source)[1]["x-ratelimit-remaining"])
        for source in ("127.0.0.3", "127.0.0.4", "127.0.0.3")
    ]
    assert left == [499, 499, 498]
