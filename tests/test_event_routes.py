"""POST /api/events: who may, what is read, what it invalidates, and what never comes of a hostile body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from cache_ext.hooks import backlog
from cache_ext.testing import FakeClock
from shivx.gate import anonymous
from shivx.identity import Caller, Tier, Via
from shivx.invalidation_rules import RULES
from shivx.names import model_tag, pair_tag
from tests.caches import connected
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for
from tests.servers import RunningServer
from tests.waiting import until

EVENTS, AUDIT = "/api/events", "/api/admin/audit"
ADMIN = Caller(Tier.ADMIN, "account:1", Via.SESSION, 1, "root", frozenset({"admin", "events"}))
BOT = Caller(Tier.SERVICE, "account:2", Via.KEY, 2, "bot", frozenset({"events"}), 5)
TRADE = {"type": "trade_executed", "pair": "BTC-USDC"}
FACTS = {
    name: f"/api/market/{path}"
    for pair in ("BTC-USDC", "ETH-USDC")
    for name, path in {
        f"price of {pair}": f"price/{pair}",
        f"book of {pair}": f"orderbook/{pair}",
        f"trades of {pair}": f"trades/{pair}",
        f"candles of {pair}": f"ohlcv/{pair}",
        f"closed candles of {pair}": f"ohlcv/{pair}?closed=true",
    }.items()
}


PAIRS_READS = {
    "price": "/api/market/price/{}",
    "book": "/api/market/orderbook/{}",
    "trades": "/api/market/trades/{}",
    "candles": "/api/market/ohlcv/{}",
    "indicators": "/api/indicators/{}?names=rsi,macd",
    "open indicators": "/api/indicators/{}?names=rsi&include_open=1",
    "closed candles": "/api/market/ohlcv/{}?closed=true",
}
SHARED_READS = {
    "pairs": "/api/market/pairs",
    "token": "/api/market/tokens/BTC",
    "correlation": "/api/indicators/correlation?pairs=BTC-USDC,ETH-USDC",
}
READS = SHARED_READS | {
    f"{name} of {pair}": path.format(pair)
    for pair in ("BTC-USDC", "ETH-USDC")
    for name, path in PAIRS_READS.items()
}
"""All that the service keeps of the market."""
ROWS = {
    "trade_executed": (
        {"pair": "BTC-USDC"},
        {f"{name} of BTC-USDC" for name in PAIRS_READS if name != "closed candles"},
    ),
    "order_placed": ({"pair": "BTC-USDC"}, {"book of BTC-USDC"}),
    "token_updated": ({"symbol": "BTC"}, {"pairs"}),  # the first to ask for what the token is part of
    "model_retrained": ({"model": "trend"}, set()),
}
"""By type of event: what it is about, and which of `READS` it changes."""


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application on a scripted exchange."""
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as opened:
        yield opened


@pytest.fixture
def timely_site() -> Iterator[Site]:
    """The same in real time, as hooks and plain reads of the cache are."""
    with open_site(settings_for(), ScriptedExchange(FakeClock())) as opened:
        yield opened


@pytest.fixture(scope="module")
def lasting_site() -> Iterator[Site]:
    """The same for all examples of a test."""
    clock = FakeClock()
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as opened:
        yield opened


def post(site: Site, body: Any, caller: Caller | None = BOT, path: str = EVENTS, **more: Any) -> Any:
    """Post *body*, JSON unless it is bytes, as *caller*."""
    gate = site.app.wsgi_app._app  # behind the envelope
    gate._identify = lambda environ: anonymous(environ) if caller is None else caller
    data = body if isinstance(body, bytes) else json.dumps(body)
    try:
        return site.client.post(path, data=data, **{"content_type": "application/json", **more})
    finally:
        gate._identify = anonymous


def codes(answer: Any) -> set[tuple[str, str]]:
    """Return which parameters are wrong, and why."""
    assert answer.status_code == 400
    return {(error["parameter"], error["code"]) for error in answer.json["errors"]}


def asked_again(site: Site) -> set[str]:
    """Return which facts the exchange is asked for when all are read."""
    found = set()
    for name, path in FACTS.items():
        before = len(site.exchange.asked)
        assert site.get(path).status_code == 200
        if len(site.exchange.asked) > before:
            found.add(name)
    return found


def waited_for(site: Site, query: str = "") -> set[str]:
    """Return for which of `READS` whoever asks has to wait, each asked for with *query* as well."""
    found = set()
    for name, path in READS.items():
        answer = site.get(f"{path}{'&' if '?' in path else '?'}{query}" if query else path)
        assert answer.status_code == 200, answer.text
        if answer.headers["X-Cache"] != "HIT":
            found.add(name)
    return found


def test_each_row_of_the_table_is_tried_here() -> None:
    """A new one belongs into `ROWS`."""
    assert ROWS.keys() == RULES.keys()


@pytest.mark.parametrize("kind", ROWS)
def test_an_event_ends_what_its_row_says_and_leaves_all_else_in_place(site: Site, kind: str) -> None:
    """Values and stored responses alike: what is kept of another pair is served as it was."""
    about, changes = ROWS[kind]
    waited_for(site)
    before = {name: site.get(path).data for name, path in READS.items()}
    assert waited_for(site) == set()
    assert post(site, {"type": kind, **about}).status_code == 202
    assert waited_for(site) == changes
    assert waited_for(site) == set()
    asked = len(site.exchange.asked)
    for name in sorted(READS.keys() - changes):
        assert site.get(READS[name]).data == before[name]
    assert waited_for(site, "source=scripted") == set(), "other answers are made of the same values"
    assert len(site.exchange.asked) == asked


def test_a_trade_changes_what_the_table_says_of_its_pair_and_nothing_of_another(site: Site) -> None:
    """Price, book, trades, the open candle are asked for anew; closed candles, and all of ETH, are kept."""
    asked_again(site)
    assert asked_again(site) == set()
    answer = post(site, TRADE)
    assert (answer.status_code, answer.json) == (202, {"invalidated": ["pair:scripted:BTC-USDC"]})
    assert asked_again(site) == {f"{name} of BTC-USDC" for name in ("price", "book", "trades", "candles")}


def test_an_order_changes_the_book_alone(site: Site) -> None:
    """Not the price: nothing was traded."""
    asked_again(site)
    answer = post(site, {"type": "order_placed", "pair": "btc-usdc", "source": "scripted"})
    assert answer.json == {"invalidated": ["orderbook:scripted:BTC-USDC"]}
    assert asked_again(site) == {"book of BTC-USDC"}


def test_a_token_that_was_updated_is_asked_for_anew(site: Site) -> None:
    """What the source says of its tokens is one fact; prices are kept."""
    site.get("/api/market/tokens/BTC")
    asked_again(site)
    answer = post(site, {"type": "token_updated", "symbol": "btc"})
    assert answer.json == {"invalidated": ["source:scripted"]}
    before = site.exchange.count("catalogue"), site.exchange.count("ticker")
    assert site.get("/api/market/tokens/BTC").status_code == 200
    site.get("/api/market/price/BTC-USDC")
    assert (site.exchange.count("catalogue"), site.exchange.count("ticker")) == (before[0] + 1, before[1])


def test_a_model_that_was_retrained_predicts_anew(timely_site: Site) -> None:
    """What carries the model's tag is gone, of whatever pair; another model's predictions are kept."""
    cache = timely_site.services.cache
    for model in ("trend", "volatility"):
        cache.set(model, 1, ttl=60, tags=[model_tag(model), pair_tag("scripted", "BTC-USDC")])
    assert post(timely_site, {"type": "model_retrained", "model": "trend"}).json == {
        "invalidated": ["model:trend"]
    }
    assert (cache.get("trend") == 1, cache.get("volatility") == 1) == (False, True)


def test_five_hundred_events_are_one_request(site: Site) -> None:
    """Each counts; the answer names every tag once, in order; it costs one."""
    pairs = [f"P{number}-USDC" for number in range(250)]
    answer = post(site, {"events": [{**TRADE, "pair": pair} for pair in pairs + pairs]})
    assert answer.status_code == 202
    assert answer.json["invalidated"] == [f"pair:scripted:{pair}" for pair in pairs]
    again = post(site, TRADE)
    left = [int(each.headers["X-RateLimit-Remaining"]) for each in (answer, again)]
    assert left[0] - left[1] == 1


def test_an_id_does_nothing_twice(site: Site) -> None:
    """The second time the answer is that nothing was invalidated, and what was read since then is kept."""
    event = {**TRADE, "id": "trade-17"}
    assert post(site, event).json["invalidated"]
    asked_again(site)
    again = post(site, {"events": [event, {**TRADE, "pair": "ETH-USDC", "id": "trade-18"}]})
    assert (again.status_code, again.json) == (202, {"invalidated": ["pair:scripted:ETH-USDC"]})
    assert {name for name in asked_again(site) if "BTC" in name} == set()


def test_a_hook_makes_its_events_known(timely_site: Site) -> None:
    """Beside the types of the table those are taken that the application has a hook for."""
    assert codes(post(timely_site, {"type": "order_filled"})) == {("type", "unknown_choice")}
    seen = []
    timely_site.services.events.on("order_filled", name="test")(seen.append)
    answer = post(timely_site, {"type": "order_filled", "pair": "btc-usdc", "id": "o-1"})
    assert (answer.status_code, answer.json) == (202, {"invalidated": []})
    until(lambda: seen, "the hook is called")
    assert (seen[0].name, seen[0].id) == ("order_filled", "o-1")
    assert seen[0].data == {"pair": "BTC-USDC", "source": "scripted"}


def test_python_emits_the_same_events(site: Site) -> None:
    """What is emitted inside the service invalidates as what is posted does."""
    asked_again(site)
    data = {"pair": "btc-usdc"}
    assert site.services.events.emit("order_placed", data).tags == ("orderbook:scripted:BTC-USDC",)
    assert asked_again(site) == {"book of BTC-USDC"}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {("type", "required")}),
        ({"type": "trade_excuted", "pair": "BTC-USDC"}, {("type", "unknown_choice")}),
        ({"type": "trade_executed"}, {("pair", "required")}),
        ({"type": "trade_executed", "pair": "BTCUSDC"}, {("pair", "malformed")}),
        ({**TRADE, "model": "trend"}, {("model", "not_allowed")}),
        ({**TRADE, "source": "nasdaq"}, {("source", "unknown_source")}),
        ({**TRADE, "id": "a\x00b"}, {("id", "malformed")}),
        ({**TRADE, "id": "x" * 129}, {("id", "malformed")}),
        ({**TRADE, "id": ""}, {("id", "malformed")}),
        ({**TRADE, "id": 7}, {("id", "malformed")}),
        ({**TRADE, "price": 7}, {("body", "malformed")}),
        ({"type": "model_retrained", "model": "../etc"}, {("model", "malformed")}),
        ({"type": "token_updated", "symbol": "*"}, {("symbol", "malformed")}),
        ({"events": []}, {("events", "malformed")}),
        ({"events": [TRADE] * 501}, {("events", "malformed")}),
        ({**TRADE, "events": [TRADE]}, {("events", "not_allowed")}),
        ({"events": [TRADE, {**TRADE, "pair": "x"}]}, {("events[1].pair", "malformed")}),
        ({"events": [{"events": [TRADE]}]}, {("events", "malformed")}),
        ([TRADE], {("body", "malformed")}),
        (b"{", {("body", "malformed")}),
        (b"[" * 100_000, {("body", "malformed")}),
        (b'{"type": "\xff"}', {("body", "not_utf8")}),
    ],
)
def test_what_is_wrong_is_named_and_nothing_happens(site: Site, body: Any, wrong: set[Any]) -> None:
    """Of several events none happens if one is wrong."""
    site.get("/api/market/price/BTC-USDC")
    assert codes(post(site, body)) == wrong
    assert site.get("/api/market/price/BTC-USDC").headers["X-Cache"] == "HIT"


def test_bodies_of_another_kind_are_refused(site: Site) -> None:
    """Not JSON, too large, or with a query."""
    assert post(site, TRADE, content_type="text/plain").status_code == 415
    assert post(site, b" " * 600_000).status_code == 413
    assert codes(post(site, TRADE, path=EVENTS + "?dry_run=1")) == {("dry_run", "unknown_parameter")}
    assert site.client.get(EVENTS).status_code == 405


def test_only_services_and_admins_with_the_scope_may(site: Site) -> None:
    """Nobody, a reader, and a key that was not made for it may not; nothing happens, and the audit has it."""
    premium = Caller(Tier.PREMIUM, "account:3", Via.KEY, 3, "bob", frozenset({"read"}), 7)
    narrow = Caller(Tier.ADMIN, "account:1", Via.KEY, 1, "root", frozenset({"read"}), 8)
    site.get("/api/market/price/BTC-USDC")
    assert [post(site, TRADE, caller).status_code for caller in (None, premium, narrow)] == [401, 403, 403]
    assert site.get("/api/market/price/BTC-USDC").headers["X-Cache"] == "HIT"
    assert [post(site, TRADE, caller).status_code for caller in (BOT, ADMIN)] == [202, 202]


def test_the_audit_counts_what_services_post_and_has_what_admins_do_before_and_after(site: Site) -> None:
    """With the types, not with what a client made up."""
    for _ in range(3):
        assert (
            post(site, {"events": [TRADE, {"type": "order_placed", "pair": "ETH-USDC"}]}).status_code == 202
        )
    assert post(site, TRADE, ADMIN).status_code == 202
    page = site.services.audit.page(50, None)
    events = [*page.open, *(row.event for row in page.rows)]
    posted = [event for event in events if event.action == "events.post"]
    assert sum(event.count for event in posted if event.name == "bot") == 3
    assert {event.target for event in posted if event.name == "bot"} == {"order_placed, trade_executed"}
    assert sorted(event.outcome for event in posted if event.name == "root") == ["done", "intended"]


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_too_many_events_for_an_absent_redis_are_refused_with_a_time_to_come_again(
    own_redis_server: RunningServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker keeps until Redis is back is bounded: beyond it 503, and what is posted again counts."""
    settings = settings_for(own_redis_server.url, cache_namespace=namespace, cache_op_timeout=0.1)
    with open_site(settings, ScriptedExchange(FakeClock())) as site:
        connected(site.services.cache)
        own_redis_server.pause()
        try:
            monkeypatch.setattr(backlog, "MAX_WAITING", 3)
            orders = [{"type": "order_placed", "pair": "BTC-USDC", "id": f"o-{n}"} for n in range(4)]
            assert [post(site, order).status_code for order in orders[:3]] == [202] * 3
            refused = post(site, orders[3])
            assert (refused.status_code, refused.content_type) == (503, "application/problem+json")
            assert int(refused.headers["Retry-After"]) >= 1
        finally:
            own_redis_server.resume()
        until(lambda: post(site, orders[3]).status_code == 202, "there is room again")
        with redis.Redis.from_url(own_redis_server.url) as desk:
            until(lambda: len(desk.keys("*:id:o-*")) == 4, "Redis is told of all that was accepted")


def test_no_event_is_stored_by_caches(site: Site) -> None:
    """Neither the answer nor an error."""
    assert post(site, TRADE).headers["Cache-Control"] == "no-store"
    assert post(site, {}).headers["Cache-Control"] == "no-store"


_texts = st.none() | st.text(max_size=20) | st.sampled_from([*RULES, "BTC-USDC", "scripted", "trend"])
_events = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("type", "pair", "model", "symbol", "source", "id"), _texts)
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(_events | st.fixed_dictionaries({"events": st.lists(_events, max_size=3) | _json}) | _json)
def test_no_body_is_our_fault(lasting_site: Site, body: Any) -> None:
    """Whatever JSON comes: accepted, or 400 with at least one parameter named."""
    answer = post(lasting_site, json.dumps(body).encode())
    assert answer.status_code in (202, 400)
    if answer.status_code == 400:
        assert answer.json["errors"]


@given(st.binary(max_size=60))
def test_no_bytes_are_our_fault(lasting_site: Site, body: bytes) -> None:
    """Whatever bytes come are no JSON, or as good as none."""
    assert post(lasting_site, body).status_code == 400
