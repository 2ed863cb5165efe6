"""Whatever a client sends to the market routes, the answer is data or a problem document; never a 5xx."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cache_ext.testing import FakeClock
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for

PROBLEM = {"type", "title", "status", "detail", "code", "errors"}
PAIR_ROUTES = ("price", "orderbook", "ohlcv", "trades")
# A request that is right, for each route; errors are made by spoiling it.
RIGHT = (
    "/api/market/pairs",
    "/api/market/price/BTC-USDC",
    "/api/market/prices?pairs=BTC-USDC",
    "/api/market/orderbook/BTC-USDC",
    "/api/market/ohlcv/BTC-USDC",
    "/api/market/trades/BTC-USDC",
    "/api/market/tokens/BTC",
)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The application on an exchange that is asked for nothing: all requests are wrong."""
    clock = FakeClock()
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as opened:
        yield opened


def problem_of(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Check that *answer* is the problem document *code*, and return it."""
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-ID"]
    body: dict[str, Any] = answer.json
    assert body.keys() == PROBLEM
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/problems/{code}")
    assert body["title"]
    assert body["detail"]
    return body


def wrong(answer: Any) -> list[tuple[str, str]]:
    """Check that *answer* is a 400, and return (parameter, code) of each error."""
    body = problem_of(answer, 400, "invalid_request")
    assert all(error["detail"] for error in body["errors"])
    return [(error["parameter"], error["code"]) for error in body["errors"]]


def with_query(path: str, query: str) -> str:
    """Return *path* with *query* added."""
    return f"{path}{'&' if '?' in path else '?'}{query}"


@pytest.mark.parametrize("route", PAIR_ROUTES)
@pytest.mark.parametrize(
    "pair",
    [
        "BTC",
        "BTCUSDC",
        "BTC-",
        "-USDC",
        "-",
        "BTC-USDC-PERP",
        "BTC_USDC",
        "BTC-US DC",
        "BTC-USDC\n",
        "{}-USDC",
        "BTC-USDC\0",
        "A" * 33 + "-USDC",
        "BTC-" + "9" * 33,
        "ß" * 17 + "-USDC",
        "💸-USDC",
        "..-..",
        "%00-A",
    ],
)
def test_a_malformed_pair_is_refused(site: Site, route: str, pair: str) -> None:
    """What is no BASE-QUOTE of letters and digits is malformed, on every route with a pair."""
    answer = site.get(f"/api/market/{route}/{quote(pair, safe='')}")
    assert wrong(answer) == [("pair", "malformed")]


@pytest.mark.parametrize("route", PAIR_ROUTES)
@pytest.mark.parametrize("pair", ["NO-SUCH", "USDC-BTC", "Ж-USDC", "A" * 32 + "-" + "9" * 32])
def test_an_unknown_pair_is_not_found(site: Site, route: str, pair: str) -> None:
    """A pair that is well formed and not traded is a 404 that names the parameter."""
    body = problem_of(site.get(f"/api/market/{route}/{quote(pair)}"), 404, "unknown_pair")
    assert [(error["parameter"], error["code"]) for error in body["errors"]] == [("pair", "unknown_pair")]


@pytest.mark.parametrize("symbol", ["NOPE", quote("Ж")])
def test_an_unknown_token_is_not_found(site: Site, symbol: str) -> None:
    """A symbol that the source does not know is a 404 of its own."""
    body = problem_of(site.get(f"/api/market/tokens/{symbol}"), 404, "unknown_token")
    assert body["errors"][0]["parameter"] == "symbol"


@pytest.mark.parametrize("symbol", ["B-C", "%20", "A" * 33, "%F0%9F%92%B8", "BTC%2CETH"])
def test_a_malformed_symbol_is_refused(site: Site, symbol: str) -> None:
    """A symbol is letters and digits."""
    assert wrong(site.get(f"/api/market/tokens/{symbol}")) == [("symbol", "malformed")]


@pytest.mark.parametrize("path", RIGHT)
def test_an_unknown_source_is_refused(site: Site, path: str) -> None:
    """Only configured sources can be chosen; the answer lists them."""
    answer = site.get(with_query(path, "source=mtgox"))
    assert wrong(answer) == [("source", "unknown_source")]
    assert "scripted" in answer.json["errors"][0]["detail"]


@pytest.mark.parametrize("path", RIGHT)
@pytest.mark.parametrize("query", ["nonsense=1", "pair=BTC-USDC", "Source=scripted", "%00=1", "=1", "a[]=1"])
def test_an_unknown_parameter_is_refused(site: Site, path: str, query: str) -> None:
    """A parameter that the route does not have is an error, not ignored."""
    ((_, code),) = wrong(site.get(with_query(path, query)))
    assert code == "unknown_parameter"


@pytest.mark.parametrize("path", RIGHT)
def test_a_repeated_parameter_is_refused(site: Site, path: str) -> None:
    """A parameter given twice is ambiguous."""
    assert wrong(site.get(with_query(path, "source=scripted&source=scripted"))) == [("source", "repeated")]


@pytest.mark.parametrize(
    ("path", "parameter", "most"),
    [("orderbook", "depth", 500), ("ohlcv", "limit", 1000), ("trades", "limit", 500)],
)
@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("0", "out_of_range"),
        ("-1", "out_of_range"),
        ("{more}", "out_of_range"),
        ("1000000000", "out_of_range"),
        ("9" * 40, "out_of_range"),
        ("1e9", "malformed"),
        ("ten", "malformed"),
        ("1.0", "malformed"),
        ("", "malformed"),
        ("+1", "malformed"),
        ("007", "malformed"),
        ("0x10", "malformed"),
        ("١٢", "malformed"),
        ("NaN", "malformed"),
        ("9" * 65, "too_long"),
    ],
)
def test_a_limit_is_a_whole_number_in_range(
    site: Site, path: str, parameter: str, most: int, value: str, code: str
) -> None:
    """Zero, negative, enormous, fractional and textual limits are refused, each for what is wrong with it."""
    value = quote(value.format(more=most + 1))
    assert wrong(site.get(f"/api/market/{path}/BTC-USDC?{parameter}={value}")) == [(parameter, code)]


@pytest.mark.parametrize("timeframe", ["", "1H", "2h", "1M", "1", "60", "1h ", "1w", "month"])
def test_a_timeframe_is_one_of_six(site: Site, timeframe: str) -> None:
    """Timeframes are a closed list, in their own case: 1M would be a month."""
    answer = site.get(f"/api/market/ohlcv/BTC-USDC?timeframe={quote(timeframe)}")
    assert wrong(answer) == [("timeframe", "unknown_choice")]


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("since=yesterday", [("since", "malformed")]),
        ("since=2026-13-01T00:00:00Z", [("since", "malformed")]),
        ("until=2026-01-01", [("until", "malformed")]),
        ("since=1700000000", [("since", "out_of_range")]),
        ("since=-5", [("since", "out_of_range")]),
        ("until=99999999999999999999", [("until", "out_of_range")]),
        ("since=1700000000001&until=1700000000000", [("since", "since_after_until")]),
        ("since=2026-01-01T00:00:00%2B01:00&until=2025-12-31T22:59:59Z", [("since", "since_after_until")]),
        ("closed=perhaps", [("closed", "malformed")]),
        ("numbers=float", [("numbers", "unknown_choice")]),
        ("cursor=!!!", [("cursor", "malformed")]),
        ("cursor=", [("cursor", "malformed")]),
        ("cursor=" + "A" * 257, [("cursor", "too_long")]),
    ],
)
def test_a_wrong_range_is_refused(site: Site, query: str, errors: list[tuple[str, str]]) -> None:
    """Times that are none, ranges that run backwards and cursors that nobody gave are named."""
    assert wrong(site.get(f"/api/market/ohlcv/BTC-USDC?{query}")) == errors


def test_several_errors_are_told_at_once(site: Site) -> None:
    """A client learns of everything that is wrong with its request in one answer."""
    query = "timeframe=2h&limit=0&since=x&until=y&closed=maybe&numbers=9&source=z&cursor=%20&bad=1&limit=2"
    errors = wrong(site.get(f"/api/market/ohlcv/BTC?{query}"))
    assert sorted(errors) == [
        ("bad", "unknown_parameter"),
        ("closed", "malformed"),
        ("cursor", "malformed"),
        ("limit", "out_of_range"),
        ("limit", "repeated"),
        ("numbers", "unknown_choice"),
        ("pair", "malformed"),
        ("since", "malformed"),
        ("source", "unknown_source"),
        ("timeframe", "unknown_choice"),
        ("until", "malformed"),
    ]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "required"),
        ("pairs=", "malformed"),
        ("pairs=BTC-USDC,", "malformed"),
        ("pairs=,", "malformed"),
        ("pairs=BTC-USDC;ETH-USDC", "malformed"),
        ("pairs=" + ",".join(f"A{number}-B" for number in range(101)), "too_many"),
        ("pairs=" + "A" * 20_000, "too_long"),
    ],
)
def test_a_batch_names_1_to_100_pairs(site: Site, query: str, code: str) -> None:
    """A batch without pairs, with a malformed one, or with more than a hundred is refused as a whole."""
    assert wrong(site.get(f"/api/market/prices?{query}")) == [("pairs", code)]


def test_a_hundred_and_one_names_of_one_pair_are_one_pair(site: Site) -> None:
    """What counts is how many different pairs there are."""
    answer = site.get("/api/market/prices?pairs=" + ",".join(["BTC-USDC"] * 101))
    assert list(answer.json["prices"]) == ["BTC-USDC"]


@pytest.mark.parametrize(
    "path", ["/api/market/price/\xff-USDC", "/api/market/tokens/\xc3", "/api/market/\x80", "/\xed\xa0\x80"]
)
def test_a_path_is_utf_8(site: Site, path: str) -> None:
    """Bytes in a path that are no UTF-8 are a 400, with the caller's request id."""
    answer = site.get("/", environ_overrides={"PATH_INFO": path}, headers={"X-Request-ID": "mine"})
    assert wrong(answer) == [("path", "not_utf8")]
    assert answer.headers["X-Request-ID"] == "mine"


@pytest.mark.parametrize("path", RIGHT)
@pytest.mark.parametrize("query", ["source=%FF", "%C3=1", "numbers=%ED%A0%80"])
def test_a_query_is_utf_8(site: Site, path: str, query: str) -> None:
    """Bytes in a query that are no UTF-8 are a 400 about the query."""
    assert wrong(site.get(with_query(path, query))) == [("query", "not_utf8")]


def test_a_raw_byte_in_the_query_is_refused(site: Site) -> None:
    """A byte above 127 that nobody percent-encoded is judged as the same byte encoded."""
    answer = site.client.get("/api/market/pairs", environ_overrides={"QUERY_STRING": "source=\xff"})
    assert wrong(answer) == [("query", "not_utf8")]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/market",
        "/api/market/",
        "/api/market/price",
        "/api/market/price/",
        "/api/market/pairs/",
        "/api/market/nothing/BTC-USDC",
        "/api/market/price/BTC-USDC/more",
        "/api/market/price/BTC%2FUSDC",
        "/api/v2/market/pairs",
    ],
)
def test_an_unknown_route_is_a_problem_document(site: Site, path: str) -> None:
    """What is no route is a 404 like others, also below and above the routes that there are."""
    problem_of(site.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
@pytest.mark.parametrize("path", RIGHT)
def test_other_methods_are_refused_with_those_that_are_allowed(site: Site, path: str, method: str) -> None:
    """405 says in Allow what there is."""
    answer = site.client.open(path, method=method)
    problem_of(answer, 405, "method_not_allowed")
    assert {each.strip() for each in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize(
    "position",
    [
        '["trades"]',
        '["trades",1]',
        '["trades",-1,"5"]',
        '["trades",1,5]',
        '["trades",1,"5",6]',
        '["candles",1]',
        '["trades",99999999999999,"\\ud800"]',
        '{"at":1,"id":"5"}',
        "[" * 90,
    ],
)
def test_a_made_up_cursor_of_trades_is_refused(site: Site, position: str) -> None:
    """A cursor that no list of trades gave is malformed, whatever it decodes to."""
    cursor = base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()
    assert wrong(site.get(f"/api/market/trades/BTC-USDC?cursor={cursor}")) == [("cursor", "malformed")]


def test_a_cursor_of_one_list_is_none_of_another(site: Site) -> None:
    """The ``next`` of candles is no cursor of trades, nor the other way round."""
    candles = site.get("/api/market/ohlcv/BTC-USDC?since=0&limit=1").json["next"]
    trades = site.get("/api/market/trades/BTC-USDC?limit=1").json["next"]
    assert wrong(site.get(f"/api/market/trades/BTC-USDC?cursor={candles}")) == [("cursor", "malformed")]
    assert wrong(site.get(f"/api/market/ohlcv/BTC-USDC?cursor={trades}")) == [("cursor", "malformed")]


NAMES = (
    "pairs",
    "depth",
    "limit",
    "cursor",
    "timeframe",
    "since",
    "until",
    "closed",
    "source",
    "numbers",
    "nonsense",
)
VALUES = (
    "0",
    "1",
    "500",
    "1e9",
    "-1",
    "true",
    "1m",
    "1d",
    "4h",
    "string",
    "simulated",
    "BTC-USDC,ETH-USDC",
    "253402300799999",
    "1700000000000",
    "9999-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "2026-06-30T23:59:60Z",
    "WyJjYW5kbGVzIiwwXQ",
    "WyJ0cmFkZXMiLDAsIiJd",
)
values = st.one_of(st.sampled_from(VALUES), st.text(max_size=12))
queries = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=5).map(
    lambda given: "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in given)
)
segments = st.one_of(
    st.sampled_from(["BTC-USDC", "eth-usdc", "BTC", "USDC", "NO-SUCH", "%FF-A", "..", "a%2Fb"]),
    st.text(max_size=8).map(lambda text: quote(text, safe="", errors="surrogatepass")),
)
paths = st.one_of(
    st.sampled_from(["/api/market/pairs", "/api/market/prices"]),
    st.builds(
        "/api/market/{}/{}".format,
        st.sampled_from(["price", "orderbook", "ohlcv", "trades", "tokens", "nothing"]),
        segments,
    ),
    st.lists(segments, max_size=4).map(lambda parts: "/" + "/".join(parts)),
)


@pytest.fixture(scope="module")
def simulated() -> Iterator[Site]:
    """The application on the simulated exchange, as it is delivered."""
    with open_site(settings_for()) as opened:
        yield opened


# Not with random bytes alone: most values are such that some route takes them.
@settings(max_examples=300, deadline=None)
@given(path=paths, query=queries)
@example(path="/api/market/ohlcv/BTC-USDC", query="since=0&limit=1000&timeframe=1m")
@example(path="/api/market/ohlcv/BTC-USDC", query="until=0&timeframe=1d")
@example(path="/api/market/ohlcv/BTC-USDC", query="since=253402300799999&until=253402300799999")
@example(path="/api/market/ohlcv/BTC-USDC", query="until=253402300799999&timeframe=4h&closed=1")
@example(path="//..", query="")
def test_no_request_is_answered_by_a_server_error(simulated: Site, path: str, query: str) -> None:
    """Any path with any query is answered by data, a redirect or a 4xx problem; never by a 5xx."""
    # Not as an address: a client takes what follows two slashes for a host.
    asked = {"PATH_INFO": unquote_to_bytes(path).decode("latin-1"), "QUERY_STRING": query}
    answer = simulated.get("/", environ_overrides=asked)
    assert answer.status_code < 500
    if answer.status_code >= 400:
        in_batch = answer.json.keys() == {"prices", "errors"}
        assert in_batch or answer.json.keys() == PROBLEM
    assert answer.status_code != 200 or answer.json is not None


latin = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=20)


@settings(max_examples=200, deadline=None)
@given(path=st.one_of(st.sampled_from(RIGHT).map(lambda right: right.partition("?")[0]), latin), raw=latin)
def test_no_raw_request_is_answered_by_a_server_error(simulated: Site, path: str, raw: str) -> None:
    """Neither is a path or query of arbitrary bytes, as WSGI hands them on."""
    environ = {"PATH_INFO": path, "QUERY_STRING": raw}
    assert simulated.get("/", environ_overrides=environ).status_code < 500
