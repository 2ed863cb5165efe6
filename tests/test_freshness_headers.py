"""What an answer says of its freshness, and what is served when the exchange fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from cache_ext.testing import FakeClock
from shivx.errors import OriginInvalid
from tests.market_stage import ScriptedExchange, Site, down, open_site, settings_for
from tests.waiting import until

PRICE = "/api/market/price/BTC-USDC"
BATCH = "/api/market/prices?pairs=BTC-USDC,ETH-USDC"
FRESH_ONLY = {"Cache-Control": "stale-if-error=0"}
# Path of each route -> ttl, stale-if-error, stale-while-revalidate; seconds.
LIFETIMES = {
    "/api/market/pairs": (86_400, 300, 300),
    "/api/market/tokens/BTC": (86_400, 300, 300),
    PRICE: (5, 30, 0),
    BATCH: (5, 30, 0),
    "/api/market/orderbook/BTC-USDC": (10, 10, 0),
    "/api/market/trades/BTC-USDC": (60, 300, 0),
    "/api/market/ohlcv/BTC-USDC": (5, 30, 0),
}
# Those whose value may be served marked only because the exchange fails.
SHORT_LIVED = {path: given for path, given in LIFETIMES.items() if not given[2]}

OpenSite = Callable[..., Site]


@pytest.fixture
def open_with(clock: FakeClock) -> Iterator[OpenSite]:
    """Open applications with some settings, on a scripted exchange and the fake clock."""
    with ExitStack() as stack:

        def open_one(url: str = "memory://", **settings: Any) -> Site:
            site: AbstractContextManager[Site] = open_site(
                settings_for(url, cache_invalidation_pubsub=False, **settings),
                ScriptedExchange(clock),
                clock=clock,
            )
            return stack.enter_context(site)

        yield open_one


@pytest.fixture
def site(open_with: OpenSite) -> Site:
    """The application as it is set up without further settings."""
    return open_with()


@pytest.fixture
def stored_site(open_with: OpenSite, redis_url: str, namespace: str) -> Site:
    """The same on each kind of Redis, every read judged by it."""
    return open_with(redis_url, cache_namespace=namespace)


def directives(answer: Any) -> dict[str, int | None]:
    """Return the directives of Cache-Control."""
    found = {}
    for part in answer.headers["Cache-Control"].split(", "):
        name, _, value = part.partition("=")
        found[name] = int(value) if value else None
    return found


def stale_of(answer: Any) -> set[bool]:
    """Return the `stale` of an answer, or of all items of a batch."""
    body = answer.json
    return {item["stale"] for item in body["prices"].values()} if "prices" in body else {body["stale"]}


@pytest.mark.parametrize("path", LIFETIMES)
def test_the_first_answer_is_a_miss_the_next_a_hit(stored_site: Site, path: str) -> None:
    """X-Cache says whether anybody waited for the exchange, on every store."""
    first, second = stored_site.get(path), stored_site.get(path)
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("MISS", "HIT")
    assert first.data == second.data
    assert first.headers["ETag"] == second.headers["ETag"]


@pytest.mark.parametrize("path", LIFETIMES)
def test_caches_are_told_how_long_an_answer_is_good_for(site: Site, path: str) -> None:
    """Cache-Control has the lifetime that is set for the kind of fact, and for how long past it."""
    ttl, if_error, revalidate = LIFETIMES[path]
    expected = {"public": None, "max-age": ttl, "stale-if-error": if_error}
    if revalidate:
        expected["stale-while-revalidate"] = revalidate
    answer = site.get(path)
    assert directives(answer) == expected
    assert answer.headers["Age"] == "0"


def test_what_is_set_is_what_is_told(open_with: OpenSite) -> None:
    """The settings of lifetimes reach the headers."""
    site = open_with(
        cache_market_price_ttl=7,
        cache_market_price_stale_ttl=0,
        cache_orderbook_ttl=3,
        cache_orderbook_stale_ttl=4,
        cache_trades_ttl=90,
        cache_stale_ttl=11,
        cache_token_metadata_ttl=100,
    )
    told = {path: site.get(path).headers["Cache-Control"] for path in LIFETIMES}
    assert told == {
        PRICE: "public, max-age=7",
        BATCH: "public, max-age=7",
        "/api/market/ohlcv/BTC-USDC": "public, max-age=7",
        "/api/market/orderbook/BTC-USDC": "public, max-age=3, stale-if-error=4",
        "/api/market/trades/BTC-USDC": "public, max-age=90, stale-if-error=11",
        "/api/market/pairs": "public, max-age=100, stale-while-revalidate=11, stale-if-error=11",
        "/api/market/tokens/BTC": "public, max-age=100, stale-while-revalidate=11, stale-if-error=11",
    }


@pytest.mark.parametrize("path", [path for path in SHORT_LIVED if "ohlcv" not in path])
def test_age_counts_from_the_load(stored_site: Site, clock: FakeClock, path: str) -> None:
    """Age grows with time; with max-age it leaves what is left; at the end of the ttl it starts anew."""
    ttl = SHORT_LIVED[path][0]
    stored_site.get(path)
    clock.advance(ttl // 2)
    answer = stored_site.get(path)
    assert answer.headers["X-Cache"] == "HIT"
    assert answer.headers["Age"] == str(ttl // 2)
    assert directives(answer)["max-age"] == ttl
    clock.advance(ttl - ttl // 2)
    answer = stored_site.get(path)
    assert (answer.headers["X-Cache"], answer.headers["Age"]) == ("MISS", "0")


def test_a_batch_is_as_old_as_its_oldest_item_and_as_fresh_as_its_shortest(
    site: Site, clock: FakeClock
) -> None:
    """Age and what is left are those of the worst item; one item that was missing makes it a miss."""
    site.get(PRICE)
    clock.advance(3)
    mixed = site.get(BATCH)
    assert mixed.headers["X-Cache"] == "MISS"
    assert (mixed.headers["Age"], directives(mixed)["max-age"]) == ("3", 5)
    clock.advance(1)
    both = site.get(BATCH)
    assert both.headers["X-Cache"] == "HIT"
    assert (both.headers["Age"], directives(both)["max-age"]) == ("4", 5)


def test_candles_of_different_age_tell_the_oldest_and_what_is_left(site: Site, clock: FakeClock) -> None:
    """Closed candles make an answer old, the open one short-lived: max-age less Age is what is left."""
    path = "/api/market/ohlcv/BTC-USDC?timeframe=1d"
    site.get(path)
    clock.advance(100)
    answer = site.get(path)
    assert answer.headers["X-Cache"] == "MISS"
    assert answer.headers["Age"] == "100"
    assert directives(answer)["max-age"] == 105


@pytest.mark.parametrize("path", LIFETIMES)
def test_who_has_the_answer_gets_304(site: Site, path: str) -> None:
    """If-None-Match with the ETag of the answer gets the headers without the body."""
    first = site.get(path)
    tag = first.headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{24}"', tag)
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = site.get(path, headers={"If-None-Match": sent})
        assert again.status_code == 304
        assert again.data == b""
        assert again.headers["ETag"] == tag
        assert again.headers["X-Cache"] == "HIT"
        assert again.headers["X-Request-ID"]
        assert int(again.headers["Age"]) <= 5, "some seconds at most have passed"
        assert "public" in again.headers["Cache-Control"]
        assert "Content-Type" not in again.headers
    assert site.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_another_answer_has_another_etag(site: Site, clock: FakeClock) -> None:
    """When the price has changed, the old ETag gets the new answer; numbers as strings have their own."""
    first = site.get(PRICE)
    assert site.get(f"{PRICE}?numbers=string").headers["ETag"] != first.headers["ETag"]
    clock.advance(6)
    second = site.get(PRICE, headers={"If-None-Match": first.headers["ETag"]})
    assert second.status_code == 200
    assert second.headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize("path", LIFETIMES)
def test_head_is_get_without_the_body(site: Site, path: str) -> None:
    """HEAD has the headers of GET; as another request it has its own id and leaves less of the limit."""
    site.get(path)
    got = site.get(path)
    head = site.client.head(path)
    assert head.status_code == 200
    assert head.data == b""
    ignored = {"Date", "X-Request-ID", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit"}
    assert set(head.headers.keys()) == set(got.headers.keys())
    assert {(name, value) for name, value in head.headers if name not in ignored} == {
        (name, value) for name, value in got.headers if name not in ignored
    }


@pytest.mark.parametrize("path", SHORT_LIVED)
def test_when_the_exchange_fails_the_last_value_is_served_marked(
    stored_site: Site, clock: FakeClock, path: str
) -> None:
    """Past its ttl, up to the stale ttl, a value is served with `stale: true`, X-Cache STALE and its age."""
    ttl, if_error, _ = SHORT_LIVED[path]
    fresh = stored_site.get(path)
    assert stale_of(fresh) == {False}
    stored_site.exchange.failure = down()
    clock.advance(ttl + if_error - 0.5)
    answer = stored_site.get(path)
    assert answer.status_code == 200
    assert answer.headers["X-Cache"] == "STALE"
    assert stale_of(answer) == {True}
    assert int(answer.headers["Age"]) == int(ttl + if_error - 0.5)
    assert int(answer.headers["Age"]) >= (directives(answer)["max-age"] or 0)
    assert answer.headers["ETag"] != fresh.headers["ETag"]


@pytest.mark.parametrize("path", [path for path in SHORT_LIVED if path != BATCH])
def test_beyond_the_stale_ttl_nothing_is_served(stored_site: Site, clock: FakeClock, path: str) -> None:
    """After the stale ttl comes a 503 that says when to ask again; when the exchange heals, fresh data."""
    ttl, if_error, _ = SHORT_LIVED[path]
    stored_site.get(path)
    stored_site.exchange.failure = down(7.0)
    clock.advance(ttl + if_error + 0.5)
    answer = stored_site.get(path)
    assert (answer.status_code, answer.json["code"]) == (503, "origin_unavailable")
    assert answer.headers["Retry-After"] == "7"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
    stored_site.exchange.failure = None
    healed = stored_site.get(path)
    assert (healed.status_code, healed.headers["X-Cache"]) == (200, "MISS")
    assert stale_of(healed) == {False}


@pytest.mark.parametrize("path", [path for path in SHORT_LIVED if path != BATCH])
def test_who_wants_nothing_stale_gets_503(site: Site, clock: FakeClock, path: str) -> None:
    """``Cache-Control: stale-if-error=0`` gets what is fresh, and 503 rather than what is not."""
    assert site.get(path, headers=FRESH_ONLY).status_code == 200
    assert site.get(path, headers=FRESH_ONLY).headers["X-Cache"] == "HIT"
    site.exchange.failure = down()
    clock.advance(SHORT_LIVED[path][0] + 1)
    refused = site.get(path, headers=FRESH_ONLY)
    assert (refused.status_code, refused.json["code"]) == (503, "origin_unavailable")
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["Cache-Control"] == "no-store"
    assert site.get(path).headers["X-Cache"] == "STALE"


def test_a_stale_item_of_a_batch_is_refused_by_itself(site: Site, clock: FakeClock) -> None:
    """With ``stale-if-error=0`` the stale item is an error among fresh ones; nobody else gets that answer."""
    site.get(BATCH)
    clock.advance(6)
    site.exchange.failing = {"ETH-USDC": down()}
    answer = site.get(BATCH, headers=FRESH_ONLY)
    assert answer.status_code == 200
    assert list(answer.json["prices"]) == ["BTC-USDC"]
    assert answer.json["errors"]["ETH-USDC"]["status"] == 503
    assert answer.headers["Cache-Control"] == "no-store"
    lenient = site.get(BATCH)
    assert [item["stale"] for item in lenient.json["prices"].values()] == [False, True]
    assert lenient.headers["X-Cache"] == "STALE"


def test_a_batch_with_anything_stale_is_stale(site: Site, clock: FakeClock) -> None:
    """Of a fresh item that was waited for and a stale one, X-Cache tells the worse."""
    site.get(BATCH)
    clock.advance(6)
    site.exchange.failing = {"ETH-USDC": down()}
    answer = site.get(BATCH)
    assert [item["stale"] for item in answer.json["prices"].values()] == [False, True]
    assert answer.headers["X-Cache"] == "STALE"
    assert int(answer.headers["Age"]) == 6
    assert (directives(answer)["max-age"] or 0) <= 6


def test_a_batch_of_stale_items_is_refused_as_a_whole(site: Site, clock: FakeClock) -> None:
    """With ``stale-if-error=0`` and nothing fresh, the batch is 503 and says when to ask again."""
    site.get(BATCH)
    clock.advance(6)
    site.exchange.failure = down()
    answer = site.get(BATCH, headers=FRESH_ONLY)
    assert answer.status_code == 503
    assert answer.json["errors"].keys() == {"BTC-USDC", "ETH-USDC"}
    assert int(answer.headers["Retry-After"]) >= 1
    assert site.get(BATCH).status_code == 200


@pytest.mark.parametrize("path", ["/api/market/pairs", "/api/market/tokens/BTC"])
def test_who_wants_nothing_stale_waits_for_an_exchange_that_answers(
    site: Site, clock: FakeClock, path: str
) -> None:
    """What others get marked while it is refreshed is loaded for him; 503 is for exchanges that fail."""
    site.get(path)
    clock.advance(86_401)
    answer = site.get(path, headers=FRESH_ONLY)
    assert (answer.status_code, answer.headers["X-Cache"]) == (200, "MISS")
    assert answer.json["stale"] is False


def test_the_catalogue_past_its_ttl_is_served_while_it_is_refreshed(site: Site, clock: FakeClock) -> None:
    """Nobody waits for a new list of pairs: the old one is served, marked, until the new one is there."""
    site.get("/api/market/pairs")
    clock.advance(86_401)
    answer = site.get("/api/market/pairs")
    assert (answer.headers["X-Cache"], answer.json["stale"]) == ("STALE", True)
    until(lambda: site.get("/api/market/pairs").headers["X-Cache"] == "HIT", "the refresh is done")
    assert site.exchange.count("catalogue") == 2


@pytest.mark.parametrize(
    ("path", "setting"),
    [
        (PRICE, "cache_market_price_stale_ttl"),
        ("/api/market/ohlcv/BTC-USDC", "cache_market_price_stale_ttl"),
        ("/api/market/orderbook/BTC-USDC", "cache_orderbook_stale_ttl"),
        ("/api/market/trades/BTC-USDC", "cache_stale_ttl"),
    ],
)
def test_a_stale_ttl_of_zero_means_never(
    open_with: OpenSite, clock: FakeClock, path: str, setting: str
) -> None:
    """With the stale ttl set to 0, nothing past its ttl is served, whatever the exchange does."""
    site = open_with(**{setting: 0})
    assert site.get(path).status_code == 200
    site.exchange.failure = down()
    clock.advance(SHORT_LIVED[path][0])
    assert site.get(path).status_code == 503


@pytest.mark.parametrize("path", [path for path in LIFETIMES if path != BATCH])
def test_nonsense_from_the_exchange_is_502_and_not_kept(site: Site, path: str) -> None:
    """An answer that is no market data is 502, nobody may keep it, and the next request asks again."""
    site.exchange.failure = OriginInvalid("the answer is a poem")
    for _ in range(2):
        answer = site.get(path)
        assert (answer.status_code, answer.json["code"]) == (502, "origin_invalid")
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Retry-After" not in answer.headers
    assert len(site.exchange.asked) == 2
    site.exchange.failure = None
    assert site.get(path).headers["X-Cache"] == "MISS"


def test_nonsense_does_not_replace_what_is_known(site: Site, clock: FakeClock) -> None:
    """When the exchange answers nonsense, the last value is served, marked."""
    site.get(PRICE)
    site.exchange.failure = OriginInvalid("the answer is a poem")
    clock.advance(6)
    assert site.get(PRICE).headers["X-Cache"] == "STALE"


@pytest.mark.parametrize("path", LIFETIMES)
def test_without_the_cache_every_read_goes_to_the_exchange(clock: FakeClock, path: str) -> None:
    """SHIVX_CACHE_ENABLED=false: X-Cache is BYPASS, and each request asks the exchange anew."""
    with open_site(settings_for(cache_enabled=False), ScriptedExchange(clock), clock=clock) as site:
        first = site.get(path)
        asked = len(site.exchange.asked)
        second = site.get(path)
        assert len(site.exchange.asked) == 2 * asked > 0
        site.exchange.failure = down()
        failed = site.get(path)
    assert first.headers["X-Cache"] == second.headers["X-Cache"] == "BYPASS"
    assert first.status_code == second.status_code == 200
    assert failed.status_code == 503


@pytest.mark.parametrize("given", ["abc", "0f5a.B_9-z", "x" * 128])
@pytest.mark.parametrize("path", [PRICE, "/nowhere", f"{PRICE}?limit=0"])
def test_a_request_id_is_kept(site: Site, path: str, given: str) -> None:
    """A plain X-Request-ID comes back on every answer, errors included."""
    assert site.get(path, headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "ä", "<script>", "a,b"])
def test_a_request_id_that_could_do_harm_is_replaced(site: Site, given: str) -> None:
    """What could disturb a log or a header is replaced by an id of our own."""
    made = site.get(PRICE, headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{32}", made)


def test_each_request_has_an_id_of_its_own(site: Site) -> None:
    """Without a given one, every answer has another, 304s too."""
    tag = site.get(PRICE).headers["ETag"]
    made = [site.get(PRICE, headers={"If-None-Match": tag}).headers["X-Request-ID"] for _ in range(5)]
    assert len(set(made)) == 5


def test_the_answer_is_not_that_of_an_earlier_request(site: Site) -> None:
    """What belongs to an answer, its id and X-Cache, is not part of what is cached."""
    first = site.get(PRICE, headers={"X-Request-ID": "first"})
    second = site.get(PRICE, headers={"X-Request-ID": "second"})
    assert first.headers["X-Request-ID"] == "first"
    assert second.headers["X-Request-ID"] == "second"


@pytest.mark.parametrize("sent", ["no-cache", "no-store", "max-age=0", "only-if-cached", "stale-if-error=60"])
def test_other_directives_do_not_shorten_a_facts_life(site: Site, sent: str) -> None:
    """Whatever a client's Cache-Control says, the exchange is not asked for what is fresh."""
    site.get(PRICE)
    asked = len(site.exchange.asked)
    assert site.get(PRICE, headers={"Cache-Control": sent}).status_code == 200
    assert len(site.exchange.asked) == asked
