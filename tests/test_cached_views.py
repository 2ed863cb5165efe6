"""`cached` keeps responses of views, and only those that another client may be given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import (
    Flask,
    Response,
    abort,
    flash,
    make_response,
    request,
    send_file,
    session,
)
from flask.testing import FlaskClient
from flask.views import MethodView
from werkzeug.test import TestResponse

from cache_ext import CacheExt, CachePolicy, ConfigurationError, PayloadError, TieredCache, cache_of
from cache_ext.web.decorators import memoize
from cache_ext.web.responses import register_responses
from cache_ext.web.views import CachedView, cached
from tests.caches import begin
from tests.waiting import until

STALE = CachePolicy(ttl=0.01, stale_if_error=60)

calls: list[object] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    """No calls so far."""
    calls.clear()


@pytest.fixture
def app(namespace: str) -> Iterator[Flask]:
    """An application with a cache of its own process."""
    made = Flask("shop")
    made.config.update(CACHE_EXT_NAMESPACE=namespace, TESTING=True, SECRET_KEY="s" * 32)
    CacheExt(made)
    yield made
    cache_of(made).close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the application, which keeps no cookies."""
    return app.test_client(use_cookies=False)


def serve(app: Flask, answer: Callable[..., Any], rule: str = "/", **options: Any) -> CachedView:
    """Serve what *answer* returns at *rule*, counted and kept as *options* say."""

    def view(**arguments: object) -> Any:
        calls.append(request.full_path)
        return answer(**arguments)

    kept = cached(**{"ttl": 60, **options} if "policy" not in options else options)(view)
    app.add_url_rule(rule, f"view{len(app.view_functions)}", kept, methods=["GET", "POST"])
    return kept


def count(**arguments: object) -> str:
    """Return the number of the call."""
    return str(len(calls))


@pytest.mark.parametrize(
    "answer",
    [
        lambda: "text",
        lambda: b"\x00\xff",
        lambda: {"a": 1},
        lambda: [1, 2],
        lambda: ("text", 200),
        lambda: ("text", {"X-A": "b"}),
        lambda: ("text", 200, {"X-A": ["b", "c"]}),
        lambda: Response(b"", 200, content_type="image/png"),
        lambda: Response("café", status="200 Fine", headers={"X-A": "caf\xe9"}),
        lambda: make_response({"a": 1}),
    ],
)
def test_every_kind_of_answer_is_kept(app: Flask, client: FlaskClient, answer: Callable) -> None:
    """Both requests get the status, headers and body that the view alone would give, from one call."""
    serve(app, answer)
    plain = Flask("plain")
    plain.add_url_rule("/", view_func=answer)
    first, second, meant = client.get("/"), client.get("/"), plain.test_client().get("/")
    assert len(calls) == 1
    for name in ("status", "data", "headers"):
        assert getattr(first, name) == getattr(second, name) == getattr(meant, name)


def test_responses_are_shared_between_processes(
    namespace: str, redis_url: str, make_cache: Callable[..., TieredCache]
) -> None:
    """What one process stored another answers with."""
    clients = []
    for _ in range(2):
        app = Flask("shop")
        app.config.update(
            CACHE_EXT_REDIS_URL=redis_url, CACHE_EXT_NAMESPACE=namespace, CACHE_EXT_OP_TIMEOUT=1.0
        )
        CacheExt(app)
        serve(app, count)
        clients.append(app.test_client())
    assert [client.get("/").text for client in clients] == ["1", "1"]
    for client in clients:
        cache_of(client.application).close()


def test_what_is_changed_afterwards_does_not_reach_the_stored_one(app: Flask, client: FlaskClient) -> None:
    """Each request has a response of its own: what `after_request` adds is added once."""

    @app.after_request
    def add(response: Response) -> Response:
        response.headers.add("X-Seen", "yes")
        response.set_data(response.get_data() + b"!")
        return response

    serve(app, lambda: "text")
    answers = [client.get("/") for _ in range(3)]
    assert [answer.headers.getlist("X-Seen") for answer in answers] == [["yes"]] * 3
    assert {answer.text for answer in answers} == {"text!"}


def test_response_class_of_the_application_is_kept(app: Flask, client: FlaskClient) -> None:
    """Hits are of the class that the application answers with."""
    app.response_class = type("Special", (Response,), {})
    kinds: list[type] = []
    app.after_request(lambda response: kinds.append(type(response)) or response)
    serve(app, lambda: "text")
    serve(app, lambda: app.response_class(iter(["a", "b"])), "/streamed")
    client.get("/"), client.get("/")
    assert kinds == [app.response_class] * 2
    assert len(calls) == 1
    assert client.get("/streamed").text == client.get("/streamed").text == "ab"
    assert len(calls) == 3


def test_key_is_the_url(app: Flask, client: FlaskClient) -> None:
    """Path, host, scheme and query tell responses apart; the order of different parameters does not."""
    serve(app, count, "/<path:rest>")
    urls = ["/a?x=1&y=2", "/a?y=2&x=1", "/b?x=1&y=2", "/a?x=1&x=2", "/a?x=2&x=1", "/a", "/a%3Fx=1", "/a?x=1"]
    assert [client.get(url).text for url in urls] == ["1", "1", "2", "3", "4", "5", "6", "7"]
    assert client.get("/a", headers={"Host": "evil.example"}).text == "8"
    assert client.get("/a", base_url="https://localhost").text == "9"
    assert client.get("/a", environ_overrides={"SCRIPT_NAME": "/mounted"}).text == "10"
    assert client.get("/a").text == "5"


def test_two_views_of_one_url_do_not_meet(app: Flask, client: FlaskClient) -> None:
    """A cached function that a view calls has a response of its own."""
    inner = cached(ttl=60)(lambda: "inner")

    @app.get("/")
    @cached(ttl=60)
    def outer() -> str:
        return f"outer of {inner().get_data(as_text=True)}"

    assert client.get("/").text == client.get("/").text == "outer of inner"


def test_other_methods_pass_through(app: Flask, client: FlaskClient) -> None:
    """POST always reaches the view and stores nothing; so does a GET with a body."""
    serve(app, count)
    assert [client.post("/").text, client.post("/").text, client.get("/").text] == ["1", "2", "3"]
    assert [client.get("/", data="x").text, client.get("/").text] == ["4", "3"]


def test_head_is_answered_from_a_stored_get(app: Flask, client: FlaskClient) -> None:
    """HEAD stores nothing, but is given the headers of what GET stored."""
    serve(app, lambda: "text")
    client.head("/"), client.head("/")
    assert len(calls) == 2
    length = client.get("/").content_length
    answer = client.head("/")
    assert (answer.data, answer.content_length, len(calls)) == (b"", length, 3)


def with_header(name: str, value: str) -> Callable[[], Response]:
    """Return a view's answer that has a header."""
    return lambda: Response("text", headers={name: value})


def cookie() -> Response:
    """Answer with a cookie."""
    response = Response("text")
    response.set_cookie("a", "b")
    return response


def reading_the_session() -> str:
    """Answer with something of the session."""
    return f"hello {session.get('name')}"


def writing_the_session() -> str:
    """Change the session."""
    session["name"] = "x"
    return "text"


def flashing() -> str:
    """Leave a message in the session."""
    flash("hello")
    return "text"


@pytest.mark.parametrize(
    "answer",
    [
        cookie,
        with_header("Cache-Control", "private, max-age=5"),
        with_header("Cache-Control", 'private="x"'),
        with_header("Cache-Control", "no-store"),
        with_header("Cache-Control", "no-cache"),
        with_header("Vary", "Accept-Language"),
        with_header("Vary", "*"),
        with_header("X\tOdd", "a"),
        reading_the_session,
        writing_the_session,
        flashing,
        lambda: ("made", 201),
        lambda: ("", 304),
        lambda: ("broken", 500),
        lambda: Response(iter(["a", "b"])),
        lambda: send_file(__file__),
        lambda: abort(404),
        lambda: abort(Response("own", 410)),
    ],
)
def test_what_is_not_for_everybody_is_not_stored(app: Flask, answer: Callable) -> None:
    """Each request for such a response reaches the view, and gets all of the response."""
    serve(app, answer)
    plain = Flask("plain")
    plain.secret_key = app.secret_key
    plain.add_url_rule("/", view_func=answer)
    for _ in range(2):
        got, meant = fetch(app), fetch(plain)
        assert (got.status, got.data) == (meant.status, meant.data)
        assert set(got.headers.keys()) == set(meant.headers.keys())
        got.close(), meant.close()
    assert len(calls) == 2


def fetch(app: Flask) -> TestResponse:
    """Return the answer at / to a client without cookies."""
    return app.test_client(use_cookies=False).get("/")


def test_what_is_not_for_everybody_is_not_shared_with_those_who_wait(app: Flask) -> None:
    """Two requests at the same time: one cookie each, though one waited for the other."""
    entered, gate = threading.Event(), threading.Event()

    def answer() -> Response:
        number = len(calls)
        if number == 1:
            entered.set()
            gate.wait(5)
        response = Response("text")
        response.set_cookie("who", str(number))
        return response

    serve(app, answer)
    first = begin(lambda: fetch(app))
    assert entered.wait(5)
    waiting = threading.Event()
    flights = cache_of(app).runtime.flights
    original = flights.board

    def board(*arguments: Any) -> Any:
        waiting.set()
        return original(*arguments)

    flights.board = board
    second = begin(lambda: fetch(app))
    assert waiting.wait(5)
    gate.set()
    cookies = {future.result(10).headers["Set-Cookie"] for future in (first, second)}
    assert cookies == {"who=1; Path=/", "who=2; Path=/"}


def test_requests_at_the_same_time_ask_the_view_once(app: Flask) -> None:
    """What may be shared is made once for all who wait."""
    entered, gate = threading.Event(), threading.Event()

    def answer() -> str:
        entered.set()
        gate.wait(5)
        return str(len(calls))

    serve(app, answer)
    first = begin(lambda: fetch(app).text)
    assert entered.wait(5)
    second = begin(lambda: fetch(app).text)
    gate.set()
    assert (first.result(10), second.result(10)) == ("1", "1")


def test_authorization_goes_past_the_cache(app: Flask, client: FlaskClient) -> None:
    """Who shows credentials is answered by the view; what it says to him is for him."""
    serve(app, count)
    client.get("/")
    for expected in ("2", "3"):
        assert client.get("/", headers={"Authorization": "Bearer a"}).text == expected
    assert client.get("/").text == "1"


def test_vary_by_authorization_keeps_one_response_each(app: Flask, client: FlaskClient) -> None:
    """With `vary=` a response is kept for each value, which does not stand in the key."""
    serve(app, count, vary=["authorization"])
    answers = [client.get("/", headers={"Authorization": f"Bearer {who}"}).text for who in "abab"]
    assert answers == ["1", "2", "1", "2"]
    assert client.get("/").text == "3"
    keys = list(cache_of(app).runtime.near._slots)
    assert len(keys) == 3
    assert "Bearer" not in "".join(keys)


def test_vary_is_normalised(app: Flask, client: FlaskClient) -> None:
    """Spaces around a value do not count; absent and empty differ."""
    serve(app, count, vary=["Accept-Language", "X-B"])
    headers = [{"Accept-Language": value} for value in ("de,  en", " de, en ", "en")]
    assert [client.get("/", headers=each).text for each in [*headers, {}, {"X-B": ""}]] == list("11234")


def test_vary_of_the_response_must_be_declared(app: Flask, client: FlaskClient) -> None:
    """A response that varies by a header of `vary=` is kept."""
    serve(app, lambda: Response("text", headers={"Vary": "accept-language"}), vary=["Accept-Language"])
    client.get("/"), client.get("/")
    assert len(calls) == 1


def test_session_touched_before_the_view_goes_past_the_cache(app: Flask, client: FlaskClient) -> None:
    """Who the visitor is may have decided more than the view; with ``vary=["Cookie"]`` it is kept for him."""
    app.before_request(lambda: session.get("name") and None)
    serve(app, count, "/shared")
    serve(app, count, "/own", vary=["Cookie"])
    assert [client.get("/shared").text, client.get("/shared").text] == ["1", "2"]
    assert [client.get("/own").text, client.get("/own").text] == ["3", "3"]
    assert client.get("/own", headers={"Cookie": "a=b"}).text == "4"


def test_the_decorator_does_not_touch_the_session(app: Flask, client: FlaskClient) -> None:
    """Looking whether the session was used does not make the response vary by cookie."""
    serve(app, count)
    assert "Vary" not in client.get("/").headers
    assert "Vary" not in client.get("/").headers


def test_unless_lets_a_request_past(app: Flask, client: FlaskClient) -> None:
    """Where `unless` says True nothing is read or stored."""
    serve(app, count, unless=lambda: "preview" in request.args)
    assert [client.get("/?preview=1").text, client.get("/?preview=1").text] == ["1", "2"]
    assert [client.get("/").text, client.get("/").text] == ["3", "3"]


def test_key_function_replaces_the_url(app: Flask, client: FlaskClient) -> None:
    """With `key=` what it returns tells responses apart, and the headers of `vary=`."""
    serve(app, count, "/<pair>", key=lambda pair: pair.upper(), vary=["X-A"])
    assert [client.get("/sol").text, client.get("/SOL?x=1").text, client.get("/btc").text] == ["1", "1", "2"]
    assert client.get("/sol", headers={"X-A": "b"}).text == "3"


def test_tags_and_invalidate_all(app: Flask, client: FlaskClient) -> None:
    """A tag formatted with the URL's arguments reaches one page, `invalidate_all` every one."""
    view = serve(app, count, "/<pair>")
    tagged = serve(app, count, "/tagged/<pair>", tags=lambda pair: [f"pair:{pair}"])
    assert [client.get("/tagged/a").text, client.get("/tagged/b").text, client.get("/a").text] == list("123")
    cache_of(app).invalidate_tags("pair:a")
    assert [client.get("/tagged/a").text, client.get("/tagged/b").text, client.get("/a").text] == list("423")
    with app.app_context():
        assert view.name == tagged.name
        view.invalidate_all()
    assert client.get("/a").text == "5"


def test_page_ends_with_what_it_is_made_of(app: Flask, client: FlaskClient) -> None:
    """Invalidating a value that the view read through the cache reaches the page."""
    price = memoize(ttl=60, tags=["pair:{pair}"], name="price")(lambda pair: len(calls))
    serve(app, lambda pair: f"<{price(pair)}>", "/<pair>")
    assert client.get("/sol").text == client.get("/sol").text == "<1>"
    cache_of(app).invalidate_tags("pair:sol")
    assert client.get("/sol").text == "<2>"


def test_stale_response_serves_while_the_view_fails(app: Flask, client: FlaskClient) -> None:
    """Within stale_if_error an old response stands in for an exception or a 5xx, and is marked."""
    answers: list[Callable[[], Any]] = [count, lambda: ("down", 503), lambda: abort(503), lambda: 1 / 0]
    turn = [0]

    def answer() -> Any:
        return answers[turn[0]]()

    serve(app, answer, policy=STALE)
    assert client.get("/").text == "1"
    for turn[0] in (1, 2, 3):
        until(lambda: "Cache-Status" in client.get("/").headers, "the response is past its ttl")
        answer = client.get("/")
        assert (answer.status_code, answer.text) == (200, "1")
        assert answer.headers["Cache-Status"].startswith("cache-ext; hit; ttl=")


def test_failing_view_answers_for_itself_without_an_old_response(app: Flask, client: FlaskClient) -> None:
    """With nothing to stand in, the client gets what the view said."""
    serve(app, lambda: ("down", 503), policy=STALE)
    assert (client.get("/").status_code, client.get("/").text) == (503, "down")
    assert len(calls) == 2


def test_view_that_raises_is_asked_again(app: Flask, client: FlaskClient) -> None:
    """An exception reaches Flask and is not kept."""
    serve(app, lambda: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            client.get("/")
    assert len(calls) == 2


def test_class_based_views_work(app: Flask, client: FlaskClient) -> None:
    """`decorators` of a MethodView, or one of its methods."""

    class Whole(MethodView):
        decorators = (cached(ttl=60),)

        def get(self) -> str:
            calls.append(1)
            return str(len(calls))

    class Part(MethodView):
        @cached(ttl=60)
        def get(self) -> str:
            calls.append(1)
            return str(len(calls))

    app.add_url_rule("/whole", view_func=Whole.as_view("whole"))
    app.add_url_rule("/part", view_func=Part.as_view("part"))
    assert [client.get("/whole").text for _ in range(2)] == ["1", "1"]
    assert [client.get("/part").text for _ in range(2)] == ["2", "2"]


def test_view_runs_within_the_disabled_cache(app: Flask) -> None:
    """With the cache off every request reaches the view."""
    serve(app, count)
    with cache_of(app).disabled():
        assert [fetch(app).text, fetch(app).text] == ["1", "2"]


def test_async_view_is_refused() -> None:
    """The decorator says at once that it is synchronous."""

    async def view() -> str:
        return "text"

    with pytest.raises(TypeError, match="async function"):
        cached(ttl=5)(view)


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": 5, "policy": CachePolicy(ttl=5)},
        {"policy": CachePolicy(ttl=5, stale_while_revalidate=5)},
        {"ttl": 5, "vary": "Cookie"},
        {"ttl": 5, "tags": ["pair:{pair}"]},
    ],
)
def test_senseless_decorator_is_refused_at_once(options: dict[str, object]) -> None:
    """A contradiction, or what needs a request that is over, is seen when the module is imported."""
    with pytest.raises(ConfigurationError):
        cached(**options)(lambda: "text")


def test_extension_offers_both_decorators() -> None:
    """They are methods of the extension, so that one import serves."""
    assert CacheExt().cached is cached
    assert CacheExt().memoize is memoize


@pytest.mark.parametrize(
    "hostile",
    [
        ["200 OK\r\nX: y", [], b""],
        ["999 OK", [], b""],
        ["", [], b""],
        ["200 OK", [["X\r\nSet-Cookie", "a=b"]], b""],
        ["200 OK", [["X", "a\r\nSet-Cookie: a=b"]], b""],
        ["200 OK", [["X", "\u20ac"]], b""],
        ["200 OK", [["", "a"]], b""],
        ["200 OK", [], "text"],
        ["200 OK"],
        7,
    ],
)
def test_hostile_bytes_are_no_response(make_cache: Callable[..., TieredCache], hostile: object) -> None:
    """What could split a header, or is no response, cannot be decoded: a miss."""
    cache = make_cache()
    register_responses(cache)
    codec = cache._values
    good = codec.encode(Response("text"))
    inner = codec._encoder.encode(["200 OK", [["Content-Type", "text/html; charset=utf-8"]], b"text"])
    assert codec.decode(good).data == b"text"
    forged = codec._encoder.encode(hostile)
    wrapped = codec._encoder.encode(["flask.Response", forged])
    plain = codec._encoder.encode(["flask.Response", inner])
    assert codec.decode(ext(plain)).data == b"text"
    with pytest.raises(PayloadError):
        codec.decode(ext(wrapped))


def ext(body: bytes) -> bytes:
    """Return *body* as msgpack's extension for registered types."""
    return b"\xc8" + len(body).to_bytes(2, "big") + bytes([64]) + body


def test_planted_cookie_is_not_served(app: Flask, client: FlaskClient) -> None:
    """A cookie in a stored response can only come from whoever wrote to the store."""
    serve(app, lambda: "text")
    client.get("/")
    (key,) = cache_of(app).runtime.near._slots
    cache_of(app).set(key, cookie())
    answer = client.get("/")
    assert (answer.text, len(calls)) == ("text", 1)
    assert "Set-Cookie" not in answer.headers


def test_other_value_in_the_place_of_a_response_is_no_error(app: Flask, client: FlaskClient) -> None:
    """Whatever lies there, the view answers."""
    serve(app, lambda: "text")
    client.get("/")
    (key,) = cache_of(app).runtime.near._slots
    cache_of(app).set(key, ["nonsense"])
    assert client.get("/").text == "text"
    assert client.head("/").status_code == 200
