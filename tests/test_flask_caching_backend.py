"""Flask-Caching runs on the engine: its own calls and cachelib's contract, without KEYS or FLUSHDB."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from flask import Flask, Response, abort, request
from flask_caching import Cache, CachedResponse
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, Unauthorized

from cache_ext import CacheExt, ConfigurationError, TieredCache, UnsupportedValue, cache_of
from cache_ext.flask_caching import TieredBackend
from cache_ext.policy import MAX_TTL
from tests.caches import all_at_once, connected
from tests.servers import RunningServer
from tests.waiting import until

ROOT = Path(__file__).parent.parent
BACKEND = "cache_ext.flask_caching.TieredBackend"
FORBIDDEN = {"keys", "flushdb", "flushall", "scan"}
COUNTER = """
import json, sys
from cache_ext import open_cache
from cache_ext.flask_caching import TieredBackend
cache = open_cache(sys.argv[1], namespace=sys.argv[2], op_timeout=5.0)
backend = TieredBackend(cache)
sys.stdin.readline()
print(json.dumps([backend.inc("hits") for _ in range(20)]))
cache.close()
"""

calls: list[object] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    """No calls so far."""
    calls.clear()


@pytest.fixture
def backend(cache: TieredCache) -> TieredBackend:
    """The backend on each kind of store, alone in its namespace."""
    return TieredBackend(cache)


@pytest.fixture
def make_app(namespace: str) -> Iterator[Callable[..., tuple[Flask, Cache]]]:
    """Make applications whose Flask-Caching runs on its own engine, or, ``shared=True``, on CacheExt's."""
    backends: list[TieredBackend] = []

    def make(url: str = "memory://", *, shared: bool = False, **config: object) -> tuple[Flask, Cache]:
        app = Flask("shop")
        app.config.update(CACHE_TYPE=BACKEND, CACHE_REDIS_URL=url, CACHE_KEY_PREFIX=namespace, DEBUG=True)
        app.config.update(config)
        if shared:
            app.config.update(
                CACHE_EXT_REDIS_URL=url, CACHE_EXT_NAMESPACE=namespace, CACHE_EXT_OP_TIMEOUT=1.0
            )
            CacheExt(app)
        flask_cache = Cache(app)
        backends.append(app.extensions["cache"][flask_cache])
        return app, flask_cache

    yield make
    for each in backends:
        each.tiered.close()


def test_value_set_is_got(backend: TieredBackend) -> None:
    """What was set comes back equal, and each caller has a copy of his own."""
    value = {"a": [1, (2, 3)], "b": {4}}
    assert backend.set("key", value)
    backend.get("key")["a"].append(9)
    assert backend.get("key") == value
    assert backend.get("other") is None


def test_none_is_told_from_nothing(backend: TieredBackend) -> None:
    """`get` gives None for both, `has` knows."""
    backend.set("key", None)
    assert backend.get("key") is None
    assert backend.has("key")
    assert not backend.has("other")


def test_get_many_keeps_the_order(backend: TieredBackend) -> None:
    """Values come in the order of the keys, None where there is none, repeated if asked twice."""
    assert backend.set_many({"a": 1, "b": 2, "c": None}) == ["a", "b", "c"]
    assert backend.get_many("b", "x", "a", "c", "b") == [2, None, 1, None, 2]
    assert backend.get_dict("b", "x") == {"b": 2, "x": None}
    assert backend.get_many() == []


def test_get_many_is_one_round_trip(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """However many there are, and lack, a process that has none of them asks Redis once."""
    TieredBackend(make_cache(redis_url), "p", "tag").set_many({str(n): n for n in range(10)})
    cache = connected(make_cache(redis_url))
    assert cache.gateway is not None
    trips: list[object] = []
    original = cache.gateway.run
    cache.gateway.run = lambda *arguments: trips.append(arguments) or original(*arguments)
    assert TieredBackend(cache, "p", "tag").get_many(*map(str, range(20))) == [*range(10), *[None] * 10]
    assert len(trips) == 1


def test_add_does_not_overwrite(backend: TieredBackend) -> None:
    """`add` says whether the value is the caller's."""
    assert backend.add("key", 1)
    assert not backend.add("key", 2)
    assert backend.get("key") == 1
    backend.delete("key")
    assert backend.add("key", 2)


def test_one_of_many_adds(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """Of threads of two processes that add at once, one is told True, and its value is there."""
    backends = [TieredBackend(connected(make_cache(redis_url))) for _ in range(2)]
    told = all_at_once(8, lambda number: backends[number % 2].add("key", number))
    assert sum(told) == 1
    assert backends[0].get("key") == backends[1].get("key") == told.index(True)


def test_delete_says_whether_there_was_something(backend: TieredBackend) -> None:
    """A value deleted is gone; of absent keys `delete_many` says that they are gone too."""
    backend.set("a", None)
    assert (backend.delete("a"), backend.delete("a"), backend.has("a")) == (True, False, False)
    backend.set_many({"b": 1, "c": 2})
    assert backend.delete_many("b", "x") == ["b", "x"]
    assert backend.get_many("b", "c") == [None, 2]
    assert backend.delete_many() == []


@pytest.mark.parametrize(
    "key", ["", " ", "\n\0", "é" * 300, "x" * 5000, "{a}b", "\udc80", "a:b/c?d=e&f", "%s"]
)
def test_any_text_may_be_a_key(backend: TieredBackend, key: str) -> None:
    """Keys of whatever characters and length are told apart."""
    prefixed = TieredBackend(backend.tiered, "fc:")
    prefixed.set_many({key: "this", key + "x": "that"})
    assert prefixed.get_many(key, key + "x") == ["this", "that"]


@pytest.mark.parametrize(
    ("timeout", "life"),
    [(None, 300), (0, MAX_TTL), (7, 7), (2.5, 2.5), (timedelta(minutes=1), 60), (10**12, MAX_TTL)],
)
def test_timeout_is_the_ttl(
    make_cache: Callable[..., TieredCache], redis_url: str, timeout: object, life: float
) -> None:
    """None is the default, 0 the longest there is."""
    cache = make_cache(redis_url)
    TieredBackend(cache).set("key", 1, timeout)
    with redis.Redis.from_url(redis_url) as client:
        left = client.pttl(cache.runtime.keyspace.value("key")) / 1000
    assert life - 5 < left <= life


def test_value_ends_with_its_timeout(backend: TieredBackend) -> None:
    """After its timeout there is nothing, and `add` succeeds again."""
    backend.set("key", 1, 0.01)
    until(lambda: not backend.has("key"), "the value expires")
    assert backend.add("key", 2)


def test_senseless_timeout_is_refused(backend: TieredBackend) -> None:
    """A negative one is an error."""
    with pytest.raises(ConfigurationError, match="timeout"):
        backend.set("key", 1, -1)


def test_value_that_cannot_be_kept_is_refused(backend: TieredBackend) -> None:
    """There is no pickle to fall back on."""
    with pytest.raises(UnsupportedValue):
        backend.set("key", object())


def test_counting(backend: TieredBackend) -> None:
    """`inc` starts at 0, `dec` goes below, both return the new number."""
    assert [backend.inc("n"), backend.inc("n", 5), backend.dec("n", 2), backend.get("n")] == [1, 6, 4, 4]
    assert backend.dec("m") == -1
    backend.set("text", "x")
    with pytest.raises(TypeError):
        backend.inc("text")


def test_counting_keeps_the_timeout(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """A counter ends when it would have, however often it is incremented."""
    cache = make_cache(redis_url)
    backend = TieredBackend(cache)
    backend.set("n", 1, 20)
    backend.inc("n")
    with redis.Redis.from_url(redis_url) as client:
        assert 15_000 < client.pttl(cache.runtime.keyspace.value("n")) <= 20_000


def test_threads_lose_no_increment(backend: TieredBackend) -> None:
    """Each sum is returned once."""
    sums = all_at_once(8, lambda _: [backend.inc("n") for _ in range(5)])
    assert sorted(number for some in sums for number in some) == list(range(1, 41))
    assert backend.get("n") == 40


def test_processes_lose_no_increment(
    make_cache: Callable[..., TieredCache], redis_url: str, namespace: str
) -> None:
    """Two processes and this one count together; every number is given out once."""
    command = [sys.executable, "-c", COUNTER, redis_url, namespace]
    members = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(2)
    ]
    backend = TieredBackend(connected(make_cache(redis_url)))
    for member in members:
        assert member.stdin is not None
        member.stdin.write("go\n")
        member.stdin.flush()
    mine = [backend.inc("hits") for _ in range(20)]
    others = [json.loads(member.communicate(timeout=60)[0]) for member in members]
    assert sorted(mine + others[0] + others[1]) == list(range(1, 61))


def test_counting_without_a_store_says_so(make_cache: Callable[..., TieredCache]) -> None:
    """Where nothing is kept, or Redis is away, `inc` returns None and changes nothing."""
    assert TieredBackend(make_cache("null://")).inc("n") is None
    assert TieredBackend(make_cache("redis://127.0.0.1:1")).inc("n") is None


def test_counting_while_redis_is_away_changes_nothing(
    make_cache: Callable[..., TieredCache], own_redis_server: RunningServer
) -> None:
    """An increment that was refused is not seen by this process either."""
    backend = TieredBackend(connected(make_cache(own_redis_server.url)))
    backend.inc("n")
    own_redis_server.kill()
    assert [backend.inc("n"), backend.inc("n")] == [None, None]
    assert backend.get("n") in (1, None)


def test_clear_forgets_this_backend_alone(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """On a shared engine only what this backend keeps is cleared, in other processes too."""
    ours, theirs = (connected(make_cache(redis_url)) for _ in range(2))
    one, same, other = (TieredBackend(c, p, p) for c, p in ((ours, "a"), (theirs, "a"), (ours, "b")))
    ours.set("own", 1)
    one.set("key", 1), other.set("key", 2)
    assert (one.get("key"), same.get("key")) == (1, 1)
    assert one.clear()
    assert (one.get("key"), other.get("key"), ours.get("own")) == (None, 2, 1)
    until(lambda: same.get("key") is None, "the other process hears")


def test_clear_of_its_own_namespace(backend: TieredBackend) -> None:
    """Without a tag the whole namespace is the backend's."""
    backend.set("key", 1)
    assert backend.clear()
    assert not backend.has("key")


@pytest.mark.parametrize("shared", [False, True])
def test_forbidden_commands_are_never_sent(start_redis: Callable, make_app: Callable, shared: bool) -> None:
    """The server's own statistics show neither KEYS nor FLUSHDB, whatever is called."""
    server = start_redis()
    app, cache = make_app(server.url, shared=shared)
    with app.app_context(), redis.Redis.from_url(server.url) as client:
        cache.set("a", 1), cache.add("b", 2), cache.get_many("a", "b"), cache.delete("a")
        cache.delete_many("a", "b"), cache.unlink("a"), cache.clear()
        cache.cache.inc("n")
        used = {name.removeprefix("cmdstat_").lower() for name in client.info("commandstats")}
    assert "evalsha" in used
    assert not used & FORBIDDEN


@pytest.fixture(params=["own", "shared"])
def shop(request: pytest.FixtureRequest, make_app: Callable, redis_url: str) -> tuple[Flask, Cache]:
    """An application on Flask-Caching whose engine is on a server, its own or CacheExt's."""
    return make_app(redis_url, shared=request.param == "shared")


def test_cached_view(shop: tuple[Flask, Cache]) -> None:
    """`@cache.cached()` keeps what a view returned: text, dicts, tuples, responses."""
    app, cache = shop
    answers = {
        "text": lambda: "text",
        "dict": lambda: {"a": 1},
        "tuple": lambda: ("made", 201, {"X-A": "b"}),
        "response": lambda: Response(b"\x00\xff", 203, {"X-A": "b"}, mimetype="image/png"),
    }

    @app.get("/<kind>")
    @cache.cached(timeout=60)
    def view(kind: str) -> object:
        calls.append(kind)
        return answers[kind]()

    client = app.test_client()
    for kind in answers:
        first, second = client.get(f"/{kind}"), client.get(f"/{kind}")
        assert (first.status, first.data, list(first.headers)) == (
            second.status,
            second.data,
            list(second.headers),
        )
    assert calls == list(answers)


def test_cached_view_by_query_string(shop: tuple[Flask, Cache]) -> None:
    """`query_string=True` tells queries apart, not their order; `delete_cached` forgets one."""
    app, cache = shop

    @app.get("/works")
    @cache.cached(timeout=60, query_string=True)
    def works() -> str:
        calls.append(request.query_string)
        return str(len(calls))

    client = app.test_client()
    urls = ("/works?a=1&b=2", "/works?b=2&a=1", "/works?a=2")
    assert [client.get(url).text for url in urls] == ["1", "1", "2"]
    with app.app_context():
        assert cache.delete_cached(works, "/works", {"a": 1, "b": 2})
    assert [client.get(url).text for url in urls] == ["3", "3", "2"]


def test_cached_none(shop: tuple[Flask, Cache]) -> None:
    """`cache_none=True` keeps None."""
    app, cache = shop

    @cache.memoize(60, cache_none=True)
    def nothing() -> None:
        calls.append(1)

    with app.app_context():
        assert (nothing(), nothing()) == (None, None)
    assert len(calls) == 1


def test_cached_response_with_its_own_timeout(shop: tuple[Flask, Cache]) -> None:
    """A `CachedResponse` is kept for as long as it says."""
    app, cache = shop

    @app.get("/")
    @cache.cached(timeout=60)
    def view() -> CachedResponse:
        calls.append(1)
        return CachedResponse(app.make_response("text"), 0.01 if len(calls) == 1 else 60)

    client = app.test_client()
    until(lambda: client.get("/").text and len(calls) == 2, "the first response expires")
    assert client.get("/").text == "text"
    assert len(calls) == 2


def test_memoize_and_delete_memoized(shop: tuple[Flask, Cache]) -> None:
    """Results are kept per arguments, and forgotten for one call, one instance or all."""
    app, cache = shop

    @cache.memoize(60)
    def add(a: int, b: int = 1) -> int:
        calls.append((a, b))
        return a + b + 100 * len(calls)

    class Adder:
        @cache.memoize(60)
        def add(self, b: int) -> int:
            calls.append(b)
            return b + 100 * len(calls)

    with app.app_context():
        assert [add(1), add(1, b=1), add(2, 1)] == [102, 102, 203]
        cache.delete_memoized(add, 1)
        assert [add(1), add(2)] == [302, 203]
        cache.delete_memoized(add)
        assert [add(1), add(2)] == [402, 503]
        one, two = Adder(), Adder()
        assert [one.add(1), one.add(1), two.add(1)] == [601, 601, 701]
        cache.delete_memoized(one.add)
        assert [one.add(1), two.add(1)] == [801, 701]


def test_aborted_view_is_kept_and_raised_again(shop: tuple[Flask, Cache]) -> None:
    """What Flask-Caching keeps of `abort()` reaches the error handlers on a hit too."""
    app, cache = shop

    @app.get("/<int:code>")
    @cache.cached(timeout=60)
    def view(code: int) -> str:
        calls.append(code)
        if code == 1:
            abort(Response("own", 410, {"X-A": "b"}))
        abort(code, "no such thing")

    @app.errorhandler(404)
    def missing(error: NotFound) -> tuple[str, int]:
        return f"handled: {error.description}", 404

    client = app.test_client()
    for _ in range(2):
        assert client.get("/404").text == "handled: no such thing"
        assert client.get("/403").status_code == 403
        assert (client.get("/1").status_code, client.get("/1").headers["X-A"]) == (410, "b")
    assert calls == [404, 403, 1]


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (NotFound(), True),
        (MethodNotAllowed(), True),
        (MethodNotAllowed(["GET"]), False),
        (Unauthorized(www_authenticate="x"), False),
        (HTTPException(response=Response(iter(["streamed"]))), False),
    ],
)
def test_exception_that_is_more_than_its_text_is_not_kept(
    backend: TieredBackend, error: HTTPException, kept: bool
) -> None:
    """Rather than losing its headers, `set` says False."""
    assert backend.set("key", error) is kept
    assert backend.add("other", error) is kept
    assert backend.has("key") is kept


def test_app_s_own_engine_is_used(make_app: Callable) -> None:
    """After `CacheExt(app)` both share one engine; two Cache objects on it do not meet."""
    app, cache = make_app(shared=True)
    other = Cache(app, config={"CACHE_KEY_PREFIX": "other", "CACHE_TYPE": BACKEND})
    assert app.extensions["cache"][cache].tiered is cache_of(app)
    with app.app_context():
        cache.set("key", 1)
        assert (cache.get("key"), other.get("key")) == (1, None)
        other.clear()
        assert cache.get("key") == 1


def test_address_comes_from_flask_cachings_settings(make_app: Callable, redis_url: str) -> None:
    """CACHE_REDIS_HOST and _PORT serve as well as CACHE_REDIS_URL; without either, memory does."""
    host, _, port = redis_url.removeprefix("redis://").partition("/")[0].partition(":")
    app, cache = make_app("", CACHE_REDIS_HOST=host, CACHE_REDIS_PORT=int(port))
    _, local = make_app("")
    with app.app_context():
        cache.set("key", 1)
        assert cache.cache.tiered.settings.redis_url == f"redis://{host}:{port}/0"
    assert local.app.extensions["cache"][local].tiered.settings.redis_url == "memory://"


def test_without_flask_caching_the_import_says_what_to_do() -> None:
    """The rest of cache_ext does not need it."""
    program = (
        "import sys; sys.modules['flask_caching'] = None; import cache_ext\n"
        "try: import cache_ext.flask_caching\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert "install flask-caching" in done.stdout
