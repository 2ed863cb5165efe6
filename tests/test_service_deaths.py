"""Any process of the running service is killed: what follows is right, and clients go on being answered."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.embedded_stage import alive, kill
from tests.service import GunicornService
from tests.service_stage import processes_of, run_id, until_embedded_gone
from tests.traffic import PATIENCE, PRICE, failures, health, number, steady, until_all_serve, until_seen
from tests.waiting import until

pytestmark = pytest.mark.service

CLIENTS = 4
ENOUGH = 50  # requests
ANSWERS = "flask_http_request_duration_seconds_count"
ROUTE = "/api/market/price/<pair>"
ENV = {"SHIVX_CACHE_MARKET_PRICE_TTL": "1"}  # so that reads keep coming to Redis


@pytest.fixture(params=["gevent", "gthread"], scope="module")
def service(request: pytest.FixtureRequest) -> Iterator[GunicornService]:
    """Two workers of each class in turn, with the embedded Valkey."""
    with GunicornService(workers=2, worker_class=request.param, env=ENV) as service:
        until_all_serve(service, 2)
        yield service


def test_killed_worker_is_replaced(service: GunicornService) -> None:
    """Only what it was just answering is lost; a new worker serves in its place."""
    victim, other = service.worker_pids()
    with steady(service, clients=CLIENTS) as seen:
        kill(victim)
        until(lambda: len(service.worker_pids()) == 2, "there are two again", PATIENCE)
        until_all_serve(service, 2)
        until_seen(seen, ENOUGH)
    assert other in service.worker_pids()
    assert len(failures(seen)) <= CLIENTS, failures(seen)
    assert all(each.answer is None for each in seen if each.failure), "cut off, but no error status"


def test_gauges_of_a_dead_worker_vanish_and_its_counts_stay(service: GunicornService) -> None:
    """What a worker is (connected) ends with it; what it did (answers, origin calls) remains counted."""
    for _ in range(20):
        service.get(PRICE, {"Cache-Control": "no-cache"})  # through to the application
    until_all_serve(service, 2)
    answered, called = number(service, ANSWERS, url_rule=ROUTE), number(service, "origin_requests_total")
    assert answered >= 20
    for victim in service.worker_pids():
        kill(victim)
    until(lambda: len(service.worker_pids()) == 2, "there are two again", PATIENCE)
    until_all_serve(service, 2)
    assert number(service, ANSWERS, url_rule=ROUTE) == answered
    assert number(service, "origin_requests_total") == called


def test_killed_server_is_started_again(service: GunicornService) -> None:
    """The keeper starts it at once, nobody notices, and the workers are connected again."""
    before = processes_of(service)
    with steady(service) as seen:
        kill(before["server"])
        until(lambda: "server" in processes_of(service), "there is a server again", PATIENCE)
        until_seen(seen, ENOUGH)
        until_all_serve(service, 2)
        until(lambda: "healthy" in health(service), "it is healthy again", PATIENCE)
    assert failures(seen) == []
    after = processes_of(service)
    assert after["keeper"] == before["keeper"]
    assert after["server"] != before["server"]


def test_killed_keeper_is_replaced_and_so_is_its_server(service: GunicornService) -> None:
    """Workers that miss it start a new pair, one for both; nobody notices."""
    first_run, keeper = run_id(service), processes_of(service)["keeper"]
    old = set(processes_of(service).values())
    with steady(service) as seen:
        kill(keeper)
        until(lambda: len(set(processes_of(service).values()) - old) == 2, "there is a pair", PATIENCE)
        until_seen(seen, ENOUGH)
        until_all_serve(service, 2)
        until(lambda: "healthy" in health(service), "it is healthy again", PATIENCE)
    assert failures(seen) == []
    assert not set(processes_of(service).values()) & old
    assert run_id(service) != first_run


def test_killed_master_takes_all_along_and_blocks_no_start(service: GunicornService) -> None:
    """Workers, keeper and server end by themselves; the next start works on the same address at once."""
    workers, run = service.worker_pids(), service.instance_dir / "instance" / "run"
    places = [(run / f"metrics-{service.pid}").resolve()]
    service.signal(signal.SIGKILL)
    until(lambda: not service.running, "the master is dead", PATIENCE)
    address = service.url.removeprefix("http://")
    with GunicornService(bind=address, folder=service.instance_dir) as successor:
        until(lambda: not any(alive(pid) for pid in workers), "the old workers are gone", PATIENCE)
        assert successor.get(PRICE).status == 200
        until_all_serve(successor, 1)
        masters = [each.name for each in run.glob("metrics-*")]
        assert masters == [f"metrics-{successor.pid}"], "the numbers of the dead one are gone"
        places.append((run / masters[0]).resolve())
        assert [place.exists() for place in places] == [False, True]
    until_embedded_gone(successor)
    assert not places[1].exists()
