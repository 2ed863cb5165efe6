"""Four workers ask the exchange once, however many clients ask them, and nobody waits after the first."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.service import GunicornService
from tests.traffic import PATIENCE, PRICE, at_once, failures, number, steady, until_all_serve
from tests.waiting import until

pytestmark = pytest.mark.service

BOOK = "/api/market/orderbook/SOL-USDC"
BOOK_ROUTE = "/api/market/orderbook/<pair>"
WORKERS = 4
CLIENTS = 200
LATENCY = 0.2  # seconds of one call of the exchange: long enough for all clients to meet in it
TTL = 1.0
LIFETIMES = 4
EARLY = 1.2 * LATENCY  # with so much left a price is loaded anew
ENV = {
    "SHIVX_SIMULATED_LATENCY": str(LATENCY),
    "SHIVX_CACHE_MARKET_PRICE_TTL": str(TTL),
    "SHIVX_CACHE_WARMING_ENABLED": "false",  # only what clients ask for is counted
    # The usual tenth of a second is enough on a machine that is not overloaded. On one that is, a crowd can
    # spend it before it reaches Redis; who has no time left for Redis loads by himself.
    "SHIVX_CACHE_OP_TIMEOUT": "1",
}


@pytest.fixture(params=["gevent", "gthread"], scope="module")
def service(request: pytest.FixtureRequest) -> Iterator[GunicornService]:
    """Four workers of each class in turn, all connected, nothing cached."""
    with GunicornService(workers=WORKERS, worker_class=request.param, env=ENV) as service:
        until_all_serve(service, WORKERS)
        yield service


def origin_calls(service: GunicornService) -> float:
    """How often all workers together have asked the exchange."""
    return number(service, "origin_requests_total", source="simulated")


def test_crowd_at_a_cold_key_costs_one_origin_call(service: GunicornService) -> None:
    """Two hundred clients that ask for one book at once get one answer, made by one call; later ones hit.

    The application itself runs once too, in all four workers together.
    """
    before, counted = origin_calls(service), number(service, "cache_requests_total", cache="http")
    answers = at_once(service, BOOK, CLIENTS)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert origin_calls(service) - before == 2, "the catalogue and the book"
    again = at_once(service, BOOK, WORKERS * 4)
    assert {answer.headers["X-Cache"] for answer in again} == {"HIT"}, "whichever worker answers"
    assert origin_calls(service) - before == 2
    entered = number(service, "flask_http_request_duration_seconds_count", url_rule=BOOK_ROUTE, status="200")
    assert entered == 1, "the application answered once; the others were given what it stored"
    everybody = len(answers) + len(again)
    until(
        lambda: number(service, "cache_requests_total", cache="http") - counted == everybody,
        "the numbers of all workers add up",
        PATIENCE,
    )


def test_steady_load_costs_about_one_call_a_lifetime(service: GunicornService) -> None:
    """Over several lifetimes each is loaded once, ahead of its end; no request fails."""
    service.get(PRICE)
    before = origin_calls(service)
    with steady(service) as seen:
        began = time.monotonic()
        until(lambda: time.monotonic() >= began + LIFETIMES * TTL, "some lifetimes are over", PATIENCE)
        lasted = time.monotonic() - began
    calls = origin_calls(service) - before
    assert failures(seen) == []
    # At the ends one more or less may count. A slow machine stretches lifetimes, it does not shorten them.
    assert lasted / TTL / 2 <= calls <= lasted / (TTL - EARLY) + 2
