"""What operators ask, and what is served while Redis or the exchange is away."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cache_ext.testing import FakeClock
from tests.caches import connected
from tests.market_stage import ScriptedExchange, Site, down, open_site, settings_for
from tests.servers import RunningServer
from tests.waiting import until

TOKEN = "scrape-me-0123456789"
ELSEWHERE = {"REMOTE_ADDR": "203.0.113.9"}
HEALTH = "/api/admin/cache/health"
PRICE = "/api/market/price/BTC-USDC"
ROUTES = (
    "/api/market/pairs",
    PRICE,
    "/api/market/prices?pairs=BTC-USDC,ETH-USDC",
    "/api/market/orderbook/BTC-USDC",
    "/api/market/ohlcv/BTC-USDC",
    "/api/market/trades/BTC-USDC",
    "/api/market/tokens/BTC",
)


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application with a token for its metrics, without Redis."""
    with open_site(settings_for(metrics_token=TOKEN), ScriptedExchange(clock), clock=clock) as opened:
        yield opened


@pytest.mark.parametrize(("path", "status"), [("/healthz", "alive"), ("/readyz", "ready")])
def test_probes_answer_anybody(site: Site, path: str, status: str) -> None:
    """Load balancers ask from elsewhere, without credentials, and nobody keeps the answer."""
    answer = site.get(path, environ_overrides=ELSEWHERE)
    assert (answer.status_code, answer.json) == (200, {"status": status})
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-ID"]


def test_probes_do_not_ask_the_exchange(site: Site) -> None:
    """Neither probe nor health costs the exchange a question."""
    for path in ("/healthz", "/readyz", HEALTH):
        assert site.get(path).status_code == 200
    assert site.exchange.asked == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_host_reads_metrics(site: Site, address: str) -> None:
    """A scraper on the same host needs no token, over IPv4 or IPv6."""
    answer = site.get("/metrics", environ_overrides={"REMOTE_ADDR": address})
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")


@pytest.mark.parametrize("address", ["203.0.113.9", "10.0.0.1", "::ffff:203.0.113.9", "", "unix:"])
@pytest.mark.parametrize(
    "sent",
    [
        None,
        "Bearer wrong",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Token {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xff\xfe",
    ],
)
def test_others_need_the_token(site: Site, address: str, sent: str | None) -> None:
    """From elsewhere, without just that token as a bearer, the answer is 401 and says how to ask."""
    headers = {} if sent is None else {"Authorization": sent}
    answer = site.get("/metrics", environ_overrides={"REMOTE_ADDR": address}, headers=headers)
    assert answer.status_code == 401
    assert answer.json["code"] == "unauthenticated"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert TOKEN not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_token_opens_metrics_from_anywhere(site: Site, scheme: str) -> None:
    """Who has the token reads the metrics."""
    sent = {"Authorization": f"{scheme} {TOKEN}"}
    assert site.get("/metrics", environ_overrides=ELSEWHERE, headers=sent).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_a_proxy_on_this_host_is_not_this_host(site: Site, header: str) -> None:
    """What a local proxy forwards comes from elsewhere."""
    assert site.get("/metrics", headers={header: "for=203.0.113.9"}).status_code == 401


def test_without_a_token_no_token_opens(clock: FakeClock) -> None:
    """Where none is set, an empty one is not the one."""
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as site:
        for sent in ("Bearer ", "Bearer None", "Bearer x"):
            answer = site.get("/metrics", environ_overrides=ELSEWHERE, headers={"Authorization": sent})
            assert answer.status_code == 401


def numbers_of(site: Site) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the value of each sample of /metrics, by name and labels."""
    text = site.get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def grown(before: dict[Any, float], after: dict[Any, float], name: str, **labels: str) -> float:
    """Return by how much a sample has grown."""
    key = (name, frozenset(labels.items()))
    return after.get(key, 0.0) - before.get(key, 0.0)


def test_metrics_count_reads_and_questions(site: Site, clock: FakeClock) -> None:
    """Misses, hits, stale answers and errors of each cache, and what the exchange answered, are counted."""
    before = numbers_of(site)
    site.get(PRICE)
    for _ in range(3):
        site.get(PRICE)
    site.exchange.failure = down()
    clock.advance(6)
    site.get(PRICE)
    clock.advance(60)
    site.get(PRICE)
    after = numbers_of(site)

    def reads(layer: str, outcome: str, cache: str = "price") -> float:
        return grown(before, after, "cache_requests_total", cache=cache, layer=layer, outcome=outcome)

    assert reads("origin", "miss") == 1
    assert reads("l1", "hit", "http") == 3
    assert reads("l1", "stale") == 1
    assert reads("none", "error") == 1

    def questions(outcome: str) -> float:
        return grown(before, after, "origin_requests_total", source="scripted", outcome=outcome)

    assert questions("ok") == 2
    assert questions("unavailable") == 2
    assert grown(before, after, "origin_request_duration_seconds_count", source="scripted") == 4


def test_metrics_count_requests_by_route(site: Site) -> None:
    """Requests are counted by route, not by path, so that clients cannot make labels; probes are not."""
    before = numbers_of(site)
    for path in (PRICE, "/api/market/price/ETH-USDC", "/api/market/price/NO-SUCH", "/healthz", "/nowhere"):
        site.get(path)
    after = numbers_of(site)
    labels = [dict(labels) for name, labels in after if name == "flask_http_request_duration_seconds_count"]
    routes = {label["url_rule"] for label in labels}
    assert routes == {"/api/market/price/<pair>", "None"}
    name = "flask_http_request_duration_seconds_count"
    priced = {"method": "GET", "url_rule": "/api/market/price/<pair>"}
    assert grown(before, after, name, status="200", **priced) == 2
    assert grown(before, after, name, status="404", **priced) == 1


def test_metrics_tell_what_answers(site: Site) -> None:
    """The version that the package has, and Python's."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    labels = frozenset({("version", project["version"]), ("python", platform.python_version())})
    assert numbers_of(site)["shivx_build_info", labels] == 1.0


def test_metrics_tell_of_redis(redis_url: str, namespace: str, clock: FakeClock) -> None:
    """With a Redis, its health, connections, circuit and times are there."""
    settings = settings_for(redis_url, cache_namespace=namespace)
    with open_site(settings, ScriptedExchange(clock)) as site:
        site.get(PRICE)

        def names() -> set[str]:
            return {name for name, _ in numbers_of(site)}

        expected = {
            "cache_requests_total",
            "cache_operation_duration_seconds_count",
            "cache_load_duration_seconds_count",
            "cache_keys",
            "redis_connections_total",
            "redis_health_status",
            "redis_pool_connections",
            "redis_circuit_state",
            "origin_requests_total",
            "flask_http_request_duration_seconds_count",
            "flask_http_request_total",
        }
        until(lambda: names() >= expected, "all numbers are there")
        until(lambda: numbers_of(site)["redis_health_status", frozenset()] == 1.0, "Redis is seen")
        priced = "cache_keys", frozenset({("cache", "price")})
        until(lambda: numbers_of(site).get(priced) == 1.0, "the price is counted")


def health_of(site: Site) -> tuple[int, str]:
    """Return status code and status of the health report."""
    answer = site.get(HEALTH)
    return answer.status_code, answer.json["status"]


@pytest.fixture
def own_site(own_redis_server: RunningServer, clock: FakeClock, namespace: str) -> Iterator[Site]:
    """The application on a Redis of its own, which the test may stop, with the budget that operators get."""
    settings = settings_for(
        own_redis_server.url, cache_namespace=namespace, cache_breaker_cooldown=0.1
    ).model_copy(update={"cache_op_timeout": 0.1})
    with open_site(settings, ScriptedExchange(clock)) as opened:
        connected(opened.services.cache)
        yield opened


def test_all_well_is_healthy(own_site: Site) -> None:
    """With Redis and the exchange there, the report is healthy, for anybody, and not kept."""
    until(lambda: health_of(own_site) == (200, "healthy"), "all is well")
    answer = own_site.get(HEALTH, environ_overrides=ELSEWHERE)
    assert answer.json.keys() == {"status"}, "details are for admins"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("fault", ["kill", "stop", "pause"])
def test_without_redis_all_is_served_and_degraded(
    own_site: Site, own_redis_server: RunningServer, fault: str
) -> None:
    """Redis killed, stopped or hanging: every market route answers 200, and the report says degraded."""
    assert own_site.get(PRICE).status_code == 200
    getattr(own_redis_server, fault)()
    try:
        for path in ROUTES:
            for _ in range(2):
                answer = own_site.get(path)
                assert answer.status_code == 200, answer.text
                assert answer.headers["X-Cache"] in {"HIT", "MISS"}
        assert health_of(own_site) == (200, "degraded")
        assert own_site.get("/healthz").status_code == 200
        assert own_site.get("/readyz").status_code == 200
        assert own_site.get("/metrics").status_code == 200
    finally:
        if fault == "pause":
            own_redis_server.resume()


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_health_returns_with_redis(own_site: Site, own_redis_server: RunningServer, fault: str) -> None:
    """When Redis is back, the report is healthy again and answers are shared again, without a restart."""
    getattr(own_redis_server, fault)()
    until(lambda: health_of(own_site) == (200, "degraded"), "Redis is missed")
    if fault == "pause":
        own_redis_server.resume()
    else:
        own_redis_server.start()
    until(lambda: health_of(own_site) == (200, "healthy"), "Redis is found again")
    key = own_site.services.cache.runtime.keyspace.value("trades:{pair:scripted:ETH-USDC}")
    assert own_site.get("/api/market/trades/ETH-USDC").status_code == 200
    assert own_redis_server.ask(f"EXISTS {key}") == b":1"


def test_an_exchange_that_is_down_degrades(own_site: Site) -> None:
    """With Redis there and the exchange not, what is kept is served: degraded, until it answers again."""
    own_site.get(PRICE)
    own_site.exchange.failure = down()
    assert own_site.get("/api/market/orderbook/BTC-USDC").status_code == 503
    assert health_of(own_site) == (200, "degraded")
    assert own_site.get(PRICE).status_code == 200
    own_site.exchange.failure = None
    assert own_site.get("/api/market/orderbook/BTC-USDC").status_code == 200
    until(lambda: health_of(own_site) == (200, "healthy"), "all is well again")


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_without_redis_and_exchange_it_is_unhealthy(own_site: Site, own_redis_server: RunningServer) -> None:
    """With neither, the report is 503, and says so as data, not as a problem."""
    own_site.get(PRICE)
    own_redis_server.kill()
    own_site.exchange.failure = down()
    answer = own_site.get("/api/market/trades/BTC-USDC")
    assert (answer.status_code, answer.json["code"]) == (503, "origin_unavailable")
    assert health_of(own_site) == (503, "unhealthy")


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_started_without_redis_it_serves_and_recovers(
    own_redis_server: RunningServer, clock: FakeClock, namespace: str
) -> None:
    """A process that finds no Redis at its start serves all the same, and uses Redis when it comes."""
    own_redis_server.stop()
    settings = settings_for(
        own_redis_server.url, cache_namespace=namespace, cache_breaker_cooldown=0.1, redis_timeout=0.5
    )
    with open_site(settings, ScriptedExchange(clock)) as site:
        assert [site.get(path).status_code for path in ROUTES] == [200] * len(ROUTES)
        assert health_of(site) == (200, "degraded")
        own_redis_server.start()
        until(lambda: health_of(site) == (200, "healthy"), "Redis is found")


def test_scrape_bears_a_worker_that_has_just_begun(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's file that is made and not yet written to does not fail the scrape."""
    (tmp_path / "counter_1.db").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert site.get("/metrics").status_code == 200
