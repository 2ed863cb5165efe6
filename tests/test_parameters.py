"""Path and query, read strictly: what is accepted, and how every mistake is told."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

import msgspec
import pytest
from flask import Flask, jsonify, request
from hypothesis import given
from hypothesis import strategies as st

from blueprints.errors import register_error_handlers
from blueprints.parameters import MAX_FIELDS, Query
from shivx.cursors import encode_cursor
from shivx.errors import InvalidRequest


class Position(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Where a list goes on."""

    at: Annotated[int, msgspec.Meta(ge=0)]


def environ(query="", path="/"):
    """Return the part of a WSGI environ that is read."""
    return {"PATH_INFO": path, "QUERY_STRING": query}


def read(query, reader, *args, **kwargs):
    """Return what the *reader* of that name makes of *query*."""
    with Query(environ(query)) as parameters:
        return getattr(parameters, reader)(*args, **kwargs)


def mistakes(query, reader="finish", *args, **kwargs):
    """Return (parameter, code) of all that is wrong."""
    with pytest.raises(InvalidRequest) as caught:
        read(query, reader, *args, **kwargs)
    return [(error.parameter, error.code) for error in caught.value.errors]


LIMIT = {"name": "limit", "default": 100, "low": 1, "high": 1000}


@pytest.mark.parametrize(
    ("query", "value"), [("", 100), ("limit=1", 1), ("limit=1000", 1000), ("limit=%35", 5)]
)
def test_integer_in_range_is_read(query, value):
    """Plain digits within the range count, ends included; absence means the default."""
    assert read(query, "integer", **LIMIT) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1e9",
        "+5",
        "%2B5",
        "%205",
        "5%20",
        "5.0",
        "%D9%A3",
        "0x10",
        "007",
        "1_0",
        "--5",
        "-",
        "NaN",
        "5%0A",
        "²",
    ],
)
def test_other_forms_of_integers_are_malformed(text):
    """Exponents, signs, spaces, other scripts' digits, hex and leading zeros are no integers."""
    assert mistakes(f"limit={quote(text, safe='%')}", "integer", **LIMIT) == [("limit", "malformed")]


@pytest.mark.parametrize("text", ["0", "1001", "-5", "9" * 60])
def test_integer_out_of_range_is_told(text):
    """A number that is one, and too small or too large, is told apart from what is none."""
    assert mistakes(f"limit={text}", "integer", **LIMIT) == [("limit", "out_of_range")]


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("1", True), ("false", False), ("FALSE", False), ("0", False)],
)
def test_boolean_is_read(text, value):
    """True and false in any case, as Python's clients send them, and 1 and 0."""
    assert read(f"closed={text}", "boolean", "closed", default=not value) is value


@pytest.mark.parametrize("text", ["", "yes", "on", "2", "t", "%20true"])
def test_other_words_are_no_booleans(text):
    """Nothing else is guessed at."""
    assert mistakes(f"closed={text}", "boolean", "closed", default=False) == [("closed", "malformed")]


@pytest.mark.parametrize(
    ("query", "reader", "args", "value"),
    [
        ("", "timeframe", (), "1h"),
        ("timeframe=1m", "timeframe", (), "1m"),
        ("", "numbers", (), "number"),
        ("numbers=string", "numbers", (), "string"),
        ("", "source", (["kraken", "simulated"],), "kraken"),
        ("source=simulated", "source", (["kraken", "simulated"],), "simulated"),
    ],
)
def test_choice_is_read(query, reader, args, value):
    """One of the known words counts; absence means the default, for sources the first."""
    assert read(query, reader, *args) == value


@pytest.mark.parametrize("word", ["", "1H", "1M", "2h", "60", "x" * 64])
def test_unknown_choice_is_told(word):
    """Any other word, case included, is an unknown choice."""
    assert mistakes(f"timeframe={word}", "timeframe") == [("timeframe", "unknown_choice")]


@pytest.mark.parametrize("word", ["", "binance", "KRAKEN"])
def test_unknown_source_is_told(word):
    """A source that is not configured is an error, an empty one too."""
    assert mistakes(f"source={word}", "source", ["kraken"]) == [("source", "unknown_source")]


def test_period_takes_both_forms_of_time():
    """`since` and `until` are RFC 3339 or Unix ms; equal ones are an empty period, not an error."""
    assert read("", "period") == (None, None)
    query = "since=1795374074000&until=2026-11-22T19:01:14%2B00:00"
    assert read(query, "period") == (1795374074000, 1795374074000)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("since=1795374074001&until=1795374074000", [("since", "since_after_until")]),
        ("since=x&until=1", [("since", "malformed"), ("until", "out_of_range")]),
        ("since=2026-11-22T19:01:14+00:00", [("since", "malformed")]),
        ("until=", [("until", "malformed")]),
    ],
)
def test_wrong_period_is_told(query, told):
    """Each end is checked for itself, and that they are in order only if both are times."""
    assert mistakes(query, "period") == told


def test_pairs_come_once_each_in_order():
    """A pair named twice, however written, counts once: the answer, keyed by pair, is the same."""
    assert read("pairs=sol-usdc,BTC-usdc,SOL-USDC", "pairs") == ("SOL-USDC", "BTC-USDC")


def test_a_hundred_pairs_fit_however_long():
    """The limit counts pairs, not characters, and counts them after dropping repeated ones."""
    pairs = [f"{'币' * 29}{i:03}-{'安' * 32}" for i in range(100)]
    assert len(read(urlencode({"pairs": ",".join(pairs)}), "pairs")) == 100
    assert len(read(f"pairs={','.join(['A-B', 'a-b'] * 100)}", "pairs", low=1)) == 1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "required"),
        ("pairs=", "malformed"),
        ("pairs=A-B,", "malformed"),
        ("pairs=A-B,%20C-D", "malformed"),
        ("pairs=A-B;C-D", "malformed"),
        (f"pairs={','.join(f'A{i}-B' for i in range(101))}", "too_many"),
        (f"pairs={'A-B,' * 10_000}", "too_long"),
    ],
)
def test_wrong_pairs_are_told(query, code):
    """A list of pairs is required, each one well formed, at most a hundred."""
    assert mistakes(query, "pairs") == [("pairs", code)]


def test_too_few_pairs_are_told():
    """Where one pair makes no sense, two that are the same do not either."""
    assert mistakes("pairs=A-B,a-b", "pairs", low=2) == [("pairs", "too_few")]


def test_cursor_is_read():
    """A cursor stands for the position that it was made from; absence for none."""
    assert read(f"cursor={encode_cursor(Position(5))}", "cursor", Position) == Position(5)
    assert read("", "cursor", Position) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "malformed"),
        ("abc", "malformed"),
        (encode_cursor(Position(-1)), "malformed"),
        ("A" * 257, "too_long"),
    ],
)
def test_wrong_cursor_is_told(text, code):
    """What we never gave out is refused."""
    assert mistakes(f"cursor={text}", "cursor", Position) == [("cursor", code)]


def test_over_long_value_is_told():
    """A value longer than any of its kind is refused before it is looked at."""
    assert mistakes(f"timeframe={'x' * 65}", "timeframe") == [("timeframe", "too_long")]
    assert read(f"names={'x' * 65}", "text", "names", 65) == "x" * 65


@pytest.mark.parametrize("query", ["depth=5", "Limit=5", "depth", "depth=", "%64epth=5", "limit%5B%5D=5"])
def test_unknown_parameter_is_told(query):
    """A parameter that the route does not have, in that case and spelling, is an error."""
    assert [code for _, code in mistakes(query, "integer", **LIMIT)] == ["unknown_parameter"]


@pytest.mark.parametrize("query", ["limit=5&limit=6", "limit=5&limit=5", "limit=5&limi%74=5"])
def test_repeated_parameter_is_told(query):
    """Giving a parameter twice is an error, even with the same value."""
    assert mistakes(query, "integer", **LIMIT) == [("limit", "repeated")]


def test_names_of_unknown_parameters_are_cut():
    """An error does not carry back all that a client sent."""
    ((name, _),) = mistakes("x" * 10_000)
    assert len(name) <= 64


def test_too_many_parameters_are_refused_unread():
    """A query of more fields than any route has is refused as a whole."""
    assert mistakes("&".join(f"p{i}=1" for i in range(MAX_FIELDS + 1))) == [("query", "too_many")]


def test_empty_fields_are_no_parameters():
    """A stray ampersand is harmless."""
    assert read("&limit=5&&", "integer", **LIMIT) == 5


def test_all_mistakes_are_told_together():
    """Mistakes in the path, in several parameters, and unknown ones come in one error."""
    query = Query(environ("limit=x&a=1&closed=2"))
    query.pair("BTC")
    query.integer(**LIMIT)
    query.boolean("closed", default=False)
    query.refuse("names", "malformed", "what only a view knows")
    with pytest.raises(InvalidRequest) as caught:
        query.finish()
    assert [error.parameter for error in caught.value.errors] == ["pair", "limit", "closed", "names", "a"]


def test_an_error_of_the_view_s_own_passes_through():
    """Another exception inside the block is not replaced by complaints about parameters."""
    with pytest.raises(ZeroDivisionError), Query(environ("unknown=1")):
        raise ZeroDivisionError


@pytest.mark.parametrize("query", ["a=%FF", "%FF=a", "a=\xff", "\xff", "a=%C3", "a=%ED%A0%80", "a=%C0%AF"])
def test_query_that_is_not_utf_8_is_refused(query):
    """Bytes that are no UTF-8, raw or percent-encoded, in name or value, are an error."""
    assert mistakes(query) == [("query", "not_utf8")]


def test_path_that_is_not_utf_8_is_refused():
    """So they are in the path, which WSGI hands over as Latin-1."""
    with pytest.raises(InvalidRequest) as caught:
        Query(environ(path="/caf\xe9"))
    assert [(error.parameter, error.code) for error in caught.value.errors] == [("path", "not_utf8")]


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_hostile_bytes_are_refused_and_nothing_else(path, query):
    """Whatever bytes come, reading them returns or raises `InvalidRequest`."""
    try:
        with Query(environ(query.decode("latin-1"), path.decode("latin-1"))) as parameters:
            parameters.integer(**LIMIT)
            parameters.period()
            parameters.pairs()
            parameters.cursor(Position)
    except InvalidRequest as error:
        assert error.errors  # noqa: PT017 - it may or may not come


@pytest.fixture
def client():
    """A client of an app with one route that takes a pair and a limit."""
    app = Flask(__name__)
    register_error_handlers(app)

    @app.get("/pair/<pair>")
    def show(pair):
        with Query(request.environ) as query:
            pair = query.pair(pair)
            limit = query.integer(**LIMIT)
        return jsonify(pair=pair, limit=limit)

    @app.get("/careless")
    def careless():
        return jsonify(request.args)

    return app.test_client()


@pytest.mark.parametrize("path", ["/pair/btc-usdc", "/pair/BTC%2DUSDC"])
def test_pair_in_the_path_is_canonical(client, path):
    """A pair in the path is percent-decoded and read as anywhere else."""
    assert client.get(path, query_string="limit=7").json == {"pair": "BTC-USDC", "limit": 7}


def test_composed_and_decomposed_pairs_are_one(client):
    """Any script works in the path, percent-encoded, in either composition."""
    pairs = {
        client.get(f"/pair/{quote(text)}").json["pair"]
        for text in ("É-X", "e\N{COMBINING ACUTE ACCENT}-x", "é-X")
    }
    assert pairs == {"É-X"}


@pytest.mark.parametrize(
    "raw",
    [
        {"PATH_INFO": "/pair/\xff-X"},
        {"PATH_INFO": "/pair/\xed\xa0\x80-X"},
        {"QUERY_STRING": "limit=%FF"},
        {"QUERY_STRING": "limit=\xff"},
        {"PATH_INFO": "/careless", "QUERY_STRING": "x=\xff"},
        {"PATH_INFO": "/careless", "QUERY_STRING": "x=%FF"},
    ],
)
def test_undecodable_request_is_a_400_on_every_route(client, raw):
    """Werkzeug would guess or, for raw bytes in a query, fail with a 500; here it is the client's error."""
    answer = client.get("/pair/A-B", environ_overrides=raw)
    assert answer.status_code == 400
    assert [error["code"] for error in answer.json["errors"]] == ["not_utf8"]


def test_mistakes_arrive_as_problem_document(client):
    """A client sees every mistake with its parameter and code."""
    answer = client.get("/pair/BTC?limit=0&x=1")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert [(error["parameter"], error["code"]) for error in answer.json["errors"]] == [
        ("pair", "malformed"),
        ("limit", "out_of_range"),
        ("x", "unknown_parameter"),
    ]
