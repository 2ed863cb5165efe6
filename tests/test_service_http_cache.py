"""The HTTP cache of the running service: two workers, one Redis, real HTTP."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest

from tests.service import Answer, GunicornService
from tests.traffic import PATIENCE, PRICE, at_once, number, until_all_serve
from tests.waiting import until

pytestmark = pytest.mark.service

WORKERS = 2
CROWD = 8 * WORKERS  # at once, so that every worker answers some
BOUND = 1.0  # seconds after which no L1 may serve what was invalidated
SLACK = 2.0  # seconds for a busy machine
PAIRS = "/api/market/pairs"
ENTERED = "flask_http_request_duration_seconds_count"


@pytest.fixture(params=["gevent", "gthread"], scope="module")
def service(request: pytest.FixtureRequest) -> Iterator[GunicornService]:
    """Two workers of each class in turn, prices that outlive the tests."""
    env = {"SHIVX_CACHE_MARKET_PRICE_TTL": "600", "SHIVX_CACHE_OP_TIMEOUT": "1"}
    with GunicornService(workers=WORKERS, worker_class=request.param, env=env) as service:
        until_all_serve(service, WORKERS)
        yield service


def crowd(service: GunicornService, path: str) -> list[Answer]:
    """Ask all workers at once."""
    return at_once(service, path, CROWD)


def test_hits_enter_no_application(service: GunicornService) -> None:
    """All workers give the same bytes; limits, ids and ages are those of each answer."""
    service.get(PRICE)
    entered = number(service, ENTERED)
    answers = crowd(service, PRICE)
    assert {answer.headers["X-Cache"] for answer in answers} == {"HIT"}
    assert {answer.headers["Cache-Status"].split("; ")[1] for answer in answers} == {"hit"}
    assert len({(answer.body, answer.headers["ETag"]) for answer in answers}) == 1
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == CROWD
    assert len({answer.headers["X-RateLimit-Remaining"] for answer in answers}) > 1
    assert number(service, ENTERED) == entered


def test_conditions_codings_and_head_are_answered_from_the_store(service: GunicornService) -> None:
    """304, gzip and HEAD, through gunicorn, say what the whole answer says."""
    whole = service.get(PAIRS)
    entered = number(service, ENTERED)
    known = service.get(PAIRS, {"If-None-Match": whole.headers["ETag"]})
    packed = service.get(PAIRS, {"Accept-Encoding": "gzip"})
    head = service.send("HEAD", PAIRS)
    assert (known.status, known.body, known.headers["ETag"]) == (304, b"", whole.headers["ETag"])
    assert gzip.decompress(packed.body) == whole.body
    assert packed.headers["ETag"] != whole.headers["ETag"]
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]
    assert number(service, ENTERED) == entered


def test_what_one_worker_is_told_to_forget_no_worker_serves(service: GunicornService) -> None:
    """An invalidation by the tag of a pair ends prices and whole answers everywhere, within the bound."""
    service.get(PRICE)
    (old,) = {json.loads(answer.body)["received_at"] for answer in crowd(service, PRICE)}
    done = service.run("flask", "cache", "invalidate", "--tag", "pair:simulated:SOL-USDC")
    assert done.returncode == 0, done.stderr

    def all_new() -> bool:
        return old not in {json.loads(answer.body)["received_at"] for answer in crowd(service, PRICE)}

    until(all_new, "nobody serves the old price", BOUND + SLACK)


def test_a_client_may_have_the_answer_made_anew(service: GunicornService) -> None:
    """no-cache runs the view on facts that stay cached; only-if-cached never runs it."""
    service.get(PRICE)
    calls, entered = number(service, "origin_requests_total"), number(service, ENTERED)
    again = service.get(PRICE, {"Cache-Control": "no-cache"})
    assert (again.status, again.headers["X-Cache"]) == (200, "HIT")
    until(lambda: number(service, ENTERED) == entered + 1, "the view was entered", PATIENCE)
    assert number(service, "origin_requests_total") == calls
    absent = service.get("/api/market/price/BTC-USDC?numbers=string", {"Cache-Control": "only-if-cached"})
    assert (absent.status, json.loads(absent.body)["code"]) == (504, "not_cached")
    assert "X-RateLimit-Remaining" in absent.headers
