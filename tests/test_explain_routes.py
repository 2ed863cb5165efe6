"""What admins are told of keys, paths and requests; and what nobody is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from cache_ext.explain.trails import MAX_READS, PLACES
from cache_ext.testing import FakeClock
from shivx.identity import Caller, Tier, Via
from tests.market_stage import ScriptedExchange, Site, down, open_site, settings_for

EXPLAIN = "/api/admin/cache/explain"
PRICE = "/api/market/price/BTC-USDC"
FACT = "price:{pair:scripted:BTC-USDC}"
TAG = "pair:scripted:BTC-USDC"
ADMIN = Caller(Tier.ADMIN, "account:1", Via.SESSION, 1, "root", frozenset({"admin"}))


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application, whose every caller is an admin."""
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as opened:
        opened.app.wsgi_app._app._identify = lambda environ: ADMIN
        yield opened


def explained(site: Site, **asked: str) -> dict[str, Any]:
    """Return what is told of a key, path or request id."""
    answer = site.get(f"{EXPLAIN}?" + "&".join(f"{name}={quote(value)}" for name, value in asked.items()))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json


def ask(site: Site, path: str, id: str, **headers: str) -> Any:
    """Ask under a request id."""
    return site.get(path, headers={"X-Request-ID": id, **headers})


def test_a_key_names_its_source(site: Site) -> None:
    """The exchange that it is of, beside all that the engine tells; null where it is of none."""
    site.get(PRICE)
    told = explained(site, key=FACT)
    assert (told["key"], told["state"], told["source"]) == (FACT, "fresh", "scripted")
    assert (told["layers"], told["complete"]) == (["l1"], True)
    assert (explained(site, key="k")["source"], explained(site, key="k")["state"]) == (None, "absent")


def test_a_path_is_the_stored_response_of_it(site: Site) -> None:
    """With its query, as clients ask for it, on the host that the admin asks."""
    site.get(f"{PRICE}?numbers=string")
    told = explained(site, path=f"{PRICE}?numbers=string")
    assert (told["state"], told["path"]) == ("fresh", f"{PRICE}?numbers=string")
    assert told["key"] == f"http:{{http://localhost{PRICE}?numbers=string}}"
    assert told["source"] == "scripted"
    assert explained(site, path=PRICE)["state"] == "absent"


def test_a_path_that_no_cache_stands_before_says_so(site: Site) -> None:
    """Its answers are never stored."""
    told = explained(site, path="/api/auth/me")
    assert (told["state"], told["why"]) == ("absent", "no cache stands before this path")


def test_an_invalidation_by_hand_names_the_request(site: Site) -> None:
    """So that the audit, which has the same id, says who it was."""
    site.get(PRICE)
    body, id = {"keys": [FACT]}, {"X-Request-ID": "by-hand"}
    assert site.client.post("/api/admin/cache/invalidate", json=body, headers=id).status_code == 200
    assert explained(site, key=FACT)["last_invalidation"]["reason"] == "admin request by-hand"
    body = {"reason": "a bad deploy"}
    assert site.client.post("/api/admin/cache/flush", json=body, headers=id).status_code == 200
    told = explained(site, key=FACT)["last_invalidation"]
    assert (told["what"], told["reason"]) == ("everything", "admin request by-hand: a bad deploy")


def test_an_event_that_invalidated_is_named(site: Site) -> None:
    """By its type and id."""
    site.get(PRICE)
    site.services.events.emit("trade_executed", {"pair": "BTC-USDC", "source": "scripted"}, id="trade-7")
    (told, *_) = site.services.cache.runtime.memory.invalidations.recent()
    assert told.reason == "event trade_executed trade-7"
    assert TAG in told.names


def test_a_miss_tells_what_it_read_and_why(site: Site) -> None:
    """The response and the price in it were not there; then the door served it, and noted no more."""
    ask(site, PRICE, "one")
    told = explained(site, request_id="one")
    assert (told["complete"], told["why"]) == (True, None)
    (request,) = told["requests"]
    assert (request["outcome"], request["status"], request["method"]) == ("MISS", 200, "GET")
    assert request["cache_status"].startswith("shivx; fwd=uri-miss; fwd-status=200; stored; ttl=")
    assert request["asks"] == f"http:{{http://localhost{PRICE}}}"
    assert request["seconds"] >= 0
    reads = {read["key"]: read for read in request["reads"]}
    assert (reads[FACT]["layer"], reads[FACT]["outcome"]) == ("origin", "miss")
    assert reads[FACT]["reason"] == "nothing lies there"
    assert list(reads)[-1] == request["asks"], "what is made of the others comes last"


def test_a_hit_is_told_too(site: Site) -> None:
    """From L1: the key, when, and how old it was."""
    ask(site, PRICE, "one")
    ask(site, PRICE, "two")
    (request,) = explained(site, request_id="two")["requests"]
    assert (request["outcome"], request["method"], request["status"]) == ("HIT", None, None)
    (read,) = request["reads"]
    assert (read["key"], read["layer"], read["outcome"]) == (request["asks"], "l1", "hit")


def test_an_invalidated_fact_is_why_a_request_missed(
    clock: FakeClock, redis_url: str, namespace: str
) -> None:
    """The trail names the tag, as it was at that moment."""
    settings = settings_for(redis_url, cache_namespace=namespace, cache_op_timeout=1.0)
    with open_site(settings, ScriptedExchange(clock)) as site:
        site.app.wsgi_app._app._identify = lambda environ: ADMIN
        site.get(PRICE)
        site.services.cache.invalidate_tags(TAG)
        ask(site, PRICE, "one")
        (request,) = explained(site, request_id="one")["requests"]
        (read,) = [read for read in request["reads"] if read["key"] == FACT]
        assert read["reason"].startswith(f"invalidated: the tag {TAG} was invalidated")


def test_a_stale_answer_tells_that_it_was(site: Site, clock: FakeClock) -> None:
    """The fact was served past its ttl, since the exchange was down."""
    site.get(PRICE)
    site.exchange.failure = down()
    clock.advance(6)
    assert ask(site, PRICE, "one").headers["X-Cache"] == "STALE"
    (request,) = explained(site, request_id="one")["requests"]
    assert (request["outcome"], request["status"]) == ("STALE", 200)
    assert "stale" in [read["outcome"] for read in request["reads"] if read["key"] == FACT]


def test_a_batch_tells_each_key(site: Site) -> None:
    """As it was for each of them."""
    site.get(PRICE)
    ask(site, "/api/market/prices?pairs=BTC-USDC,ETH-USDC", "one")
    (request,) = explained(site, request_id="one")["requests"]
    outcomes = {read["key"]: read["outcome"] for read in request["reads"]}
    assert (outcomes[FACT], outcomes["price:{pair:scripted:ETH-USDC}"]) == ("hit", "miss")


def test_requests_of_one_id_are_all_told_oldest_first(site: Site, clock: FakeClock) -> None:
    """A client may give several the same."""
    for path in (PRICE, PRICE, "/api/auth/me", "/api/market/price/ETH-USDC"):
        ask(site, path, "same")
        clock.advance(0.1)
    told = explained(site, request_id="same")["requests"]
    assert [each["outcome"] for each in told] == ["MISS", "HIT", "none", "MISS"]


def test_probes_are_not_remembered(site: Site) -> None:
    """They come all the time, and would push out what somebody asks about."""
    for path in ("/healthz", "/readyz", "/metrics"):
        ask(site, path, "probe")
    assert explained(site, request_id="probe")["requests"] == []


def test_a_request_that_nobody_remembers_is_an_answer(site: Site) -> None:
    """Nothing is known of it, and why that may be."""
    told = explained(site, request_id="never")
    assert (told["requests"], told["complete"], told["answered"]) == ([], True, 1)
    assert told["why"].startswith("nobody who answered remembers it")


def test_a_view_without_a_cache_is_told_by_name(site: Site) -> None:
    """Not by its path, in which there may be a session's id."""
    ask(site, "/api/auth/me", "one")
    (request,) = explained(site, request_id="one")["requests"]
    assert (request["asks"], request["outcome"], request["method"]) == ("auth.me", "none", "GET")
    assert request["status"] in {200, 404, 401}


def test_a_refusal_is_told(clock: FakeClock) -> None:
    """What the gate refuses never reaches a view; the id that a client sees is known all the same."""
    with open_site(settings_for(limit_anonymous=1), ScriptedExchange(clock), clock=clock) as site:
        assert [ask(site, PRICE, id).status_code for id in ("one", "two")] == [200, 429]
        site.app.wsgi_app._app._identify = lambda environ: ADMIN
        (request,) = explained(site, request_id="two")["requests"]
        assert (request["status"], request["outcome"], request["asks"]) == (429, "none", "unknown route")


def test_the_memory_is_bounded(site: Site) -> None:
    """In requests, and in reads of each."""
    memory = site.services.cache.runtime.memory
    for number in range(PLACES + 10):
        memory.note((str(number), 0.0, "k", 0.0))
    assert len(memory.requests) == PLACES
    pairs = ",".join(f"P{number}-USDC" for number in range(100))
    ask(site, f"/api/market/prices?pairs={pairs}", "many")
    (request,) = explained(site, request_id="many")["requests"]
    assert len(request["reads"]) <= MAX_READS


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "key"),
        ("?key=", "key"),
        ("?key=a&path=/x", "key"),
        ("?key=a&request_id=b", "key"),
        ("?key=a&key=b", "key"),
        ("?key=a%00", "key"),
        ("?key=" + "a" * 1025, "key"),
        ("?key=" + "a" * 2049, "key"),
        ("?path=api/market/pairs", "path"),
        ("?path=https://other.example/", "path"),
        ("?path=//other.example/", "path"),
        ("?key=a&more=1", "more"),
    ],
)
def test_what_makes_no_sense_is_refused(site: Site, query: str, parameter: str) -> None:
    """With the name of the parameter."""
    answer = site.get(EXPLAIN + query)
    assert answer.status_code == 400
    assert parameter in [error["parameter"] for error in answer.json["errors"]]
