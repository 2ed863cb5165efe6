"""Errors as clients see them: one problem document each, the right status and headers, no internals."""

from __future__ import annotations

import json
import logging
import math

import pytest
from flask import Flask, Response, abort, redirect, request
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.exceptions import NotFound as RouteNotFound

from blueprints.errors import register_error_handlers
from blueprints.problems import KINDS, batch_status, document, problem, retry_after
from cache_ext.errors import CircuitOpen, StoreUnavailable
from shivx.errors import (
    ConfigurationError,
    InvalidParameter,
    InvalidRequest,
    NotComputable,
    NotFound,
    OriginError,
    OriginInvalid,
    OriginUnavailable,
    TooManyRequests,
    UnknownPair,
    UnknownSource,
    UnknownToken,
)

FIELDS = ["type", "title", "status", "detail", "code", "errors"]

MAPPING = [
    (InvalidParameter("limit", "malformed", "a number"), 400, "invalid_request", [("limit", "malformed")]),
    (
        InvalidRequest([InvalidParameter("a", "malformed", ""), InvalidParameter("b", "required", "")]),
        400,
        "invalid_request",
        [("a", "malformed"), ("b", "required")],
    ),
    (UnknownSource("binance is not configured"), 400, "invalid_request", [("source", "unknown_source")]),
    (UnknownPair("X-Y is not traded"), 404, "unknown_pair", [("pair", "unknown_pair")]),
    (UnknownToken("X is not known"), 404, "unknown_token", [("symbol", "unknown_symbol")]),
    (NotFound("no such model"), 404, "not_found", []),
    (NotComputable("too little history"), 422, "not_computable", []),
    (OriginInvalid("nonsense"), 502, "origin_invalid", []),
    (OriginUnavailable("timed out"), 503, "origin_unavailable", []),
    (OriginError("went wrong"), 503, "origin_unavailable", []),
]


@pytest.fixture
def app():
    """An app whose route raises what a test puts into `app.extensions["raise"]`."""
    app = Flask(__name__)
    register_error_handlers(app)

    @app.route("/fail", methods=["GET", "POST"])
    @app.route("/fail/<pair>")
    def fail(pair=None):
        raise app.extensions["raise"]

    @app.get("/abort/<int:status>")
    def stop(status):
        abort(status)

    @app.get("/own")
    def own():
        abort(Response("mine", 409))

    @app.get("/own-not-found")
    def own_not_found():
        raise RouteNotFound(response=Response("mine", 404))

    @app.get("/away")
    def away():
        abort(redirect("/elsewhere"))

    @app.get("/folder/")
    def folder():
        return "here"

    return app


@pytest.fixture
def answer_to(app):
    """Return the answer to a request whose view raises the given error."""

    def answer(error, path="/fail"):
        app.extensions["raise"] = error
        return app.test_client().get(path)

    return answer


@pytest.mark.parametrize(
    ("error", "status", "code", "errors"), MAPPING, ids=lambda value: type(value).__name__
)
def test_error_maps_to_its_problem(answer_to, error, status, code, errors):
    """Each error of the tree has its status and code, names the parameters at fault, and is not stored."""
    answer = answer_to(error, "/fail/X-Y")
    told = answer.json
    assert list(told) == FIELDS
    assert (answer.status_code, told["status"], told["code"]) == (status, status, code)
    assert (told["type"], told["title"]) == (f"/problems/{code}", KINDS[code].title)
    assert [(each["parameter"], each["code"]) for each in told["errors"]] == errors
    assert told["detail"] == str(error)
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert problem(error) == told


def test_a_limit_says_how_long_to_wait_if_it_knows(answer_to):
    """Whole seconds, rounded up; the usual one leaves it to the gate, which knows."""
    assert answer_to(TooManyRequests("x", 7.2), "/fail").headers["Retry-After"] == "8"
    assert "Retry-After" not in answer_to(TooManyRequests("x"), "/fail").headers


def test_unknown_pair_of_a_list_names_the_list(answer_to):
    """Without a pair in the path, the parameter at fault is ``pairs``."""
    assert answer_to(UnknownPair("X-Y"), "/fail").json["errors"][0]["parameter"] == "pairs"


@pytest.mark.parametrize(
    ("seconds", "header"),
    [
        (0, "1"),
        (0.2, "1"),
        (1.0, "1"),
        (2.1, "3"),
        (-5, "1"),
        (1e9, "3600"),
        (math.inf, "3600"),
        (math.nan, "3600"),
    ],
)
def test_retry_after_is_whole_seconds(answer_to, seconds, header):
    """Retry-After is rounded up to a whole second, from one to an hour, whatever the exchange said."""
    assert answer_to(OriginUnavailable("down", seconds)).headers["Retry-After"] == header


@pytest.mark.parametrize("error", [CircuitOpen(3.2), StoreUnavailable("10.0.0.7 refused")])
def test_absent_store_is_a_503_that_tells_nothing_of_it(answer_to, error):
    """What needs Redis and cannot have it says when to ask again, and nothing about our network."""
    answer = answer_to(error)
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) == retry_after(error)
    assert str(error) not in answer.text


@pytest.mark.parametrize("error", [ValueError("hush"), ConfigurationError("hush"), KeyError("hush")])
def test_bug_is_a_500_that_is_logged_and_tells_nothing(answer_to, error, caplog):
    """Any other exception is logged with its traceback; the client learns only that it happened."""
    with caplog.at_level(logging.ERROR):
        answer = answer_to(error)
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert list(answer.json) == FIELDS
    assert "hush" not in answer.text
    assert caplog.records[-1].exc_info[1] is error


@pytest.mark.parametrize("status", sorted(code for code in default_exceptions if code >= 400))
def test_every_http_exception_is_a_problem(app, status):
    """Whatever status werkzeug knows, the answer keeps it and is a problem document whose type exists."""
    client = app.test_client()
    answer = client.get(f"/abort/{status}")
    assert answer.status_code == answer.json["status"] == status
    assert list(answer.json) == FIELDS
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get(answer.json["type"]).status_code == 200


def test_unknown_route_and_method_are_problems(app):
    """404 for a route that does not exist, 405 with Allow for a method that this one has not."""
    client = app.test_client()
    assert client.get("/nowhere").json["code"] == "not_found"
    answer = client.delete("/fail")
    assert answer.json["code"] == "method_not_allowed"
    assert {method.strip() for method in answer.headers["Allow"].split(",")} == {
        "GET",
        "HEAD",
        "OPTIONS",
        "POST",
    }


def test_content_too_large_is_a_problem(app):
    """A body over the limit is told by its own code."""

    @app.post("/body")
    def body():
        return request.get_data()

    app.config["MAX_CONTENT_LENGTH"] = 10
    assert app.test_client().post("/body", data=b"x" * 11).json["code"] == "content_too_large"


def test_aborted_503_has_retry_after(app):
    """Nobody gets a 503 without being told when to ask again."""
    assert app.test_client().get("/abort/503").headers["Retry-After"] == "1"


def test_answers_made_by_hand_are_left_alone(app):
    """A response given to `abort`, and redirects, stay what they are."""
    client = app.test_client()
    assert (client.get("/own").status_code, client.get("/own").text) == (409, "mine")
    assert client.get("/own-not-found").text == "mine"
    assert client.get("/away").headers["Location"] == "/elsewhere"
    assert client.get("/folder").status_code == 308


@pytest.mark.parametrize("code", KINDS)
def test_problem_type_leads_to_a_page(app, code):
    """Each type URI answers with plain words that may be stored."""
    answer = app.test_client().get(f"/problems/{code}")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    assert KINDS[code].title in answer.text
    assert answer.cache_control.public


def test_unknown_problem_type_is_not_found(app):
    """A type that does not exist has no page, and what was asked is not echoed as anything but JSON."""
    answer = app.test_client().get("/problems/%3Cscript%3E")
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_documents_are_plain_json():
    """A document survives JSON, so a batch can embed it."""
    for error, *_ in MAPPING:
        assert json.loads(json.dumps(problem(error))) == problem(error)
    assert document("rate_limited")["status"] == 429


def test_status_without_a_kind_keeps_its_number():
    """An HTTP error that werkzeug has no class for is a problem too."""
    odd = HTTPException("odd")
    odd.code = 499
    assert (problem(odd)["status"], problem(odd)["code"]) == (499, "invalid_request")


def test_batch_fails_only_if_all_of_it_does():
    """A batch is 200 if any item succeeded, else as grave as the gravest item."""
    problems = [problem(UnknownPair("x")), problem(OriginUnavailable("x")), problem(OriginInvalid("x"))]
    assert batch_status(1, problems) == 200
    assert batch_status(0, problems) == 503
    assert batch_status(0, problems[:1]) == 404
    assert batch_status(2, []) == 200
