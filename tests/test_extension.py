"""`CacheExt` joins a Flask application and its cache, several in one process, and starts nothing early."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flask import Flask

from cache_ext import CacheExt, ConfigurationError, TieredCache, cache_of
from cache_ext.transport.budget import current_budget


@pytest.fixture
def app() -> Iterator[Flask]:
    """An application with a cache of its own process."""
    made = Flask("shop")
    made.config["CACHE_EXT_REDIS_URL"] = "memory://"
    CacheExt(made)
    yield made
    cache_of(made).close()


def test_view_reads_through_the_cache(app: Flask) -> None:
    """A view's loader runs once for two requests."""
    calls: list[int] = []

    @app.get("/stock")
    def stock() -> dict[str, int]:
        return cache_of(app).get_or_load("stock", lambda: calls.append(1) or {"apples": 3}, ttl=60)

    client = app.test_client()
    assert client.get("/stock").json == client.get("/stock").json == {"apples": 3}
    assert len(calls) == 1


def test_extension_knows_the_current_applications_cache(app: Flask) -> None:
    """`ext.cache` is the cache of the application whose context is current, one extension serving many."""
    other = Flask("other")
    other.config["CACHE_EXT_REDIS_URL"] = "memory://"
    ext = CacheExt()
    cache = ext.init_app(other)
    with other.app_context():
        assert ext.cache is cache
    with app.app_context():
        assert ext.cache is cache_of(app)
        assert ext.cache is not cache


def test_applications_of_one_process_share_nothing(app: Flask) -> None:
    """A value set in one application's cache is not in another's."""
    other = Flask("other")
    other.config["CACHE_EXT_REDIS_URL"] = "memory://"
    CacheExt(other)
    cache_of(app).set("name", "shop")
    assert not cache_of(other).get("name")


def test_second_init_app_is_refused(app: Flask) -> None:
    """An application has one cache."""
    with pytest.raises(ConfigurationError, match="twice"):
        CacheExt(app)


def test_application_without_a_cache_is_told_so() -> None:
    """Asking for the cache of an application that has none says what to do."""
    with pytest.raises(ConfigurationError, match="init_app"):
        cache_of(Flask("bare"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("CACHE_EXT_TTL", 5),
        ("CACHE_EXT_DEFAULT_TTL", -1),
        ("CACHE_EXT_NAMESPACE", "a{b}"),
        ("CACHE_EXT_REDIS_URL", "ftp://x"),
    ],
)
def test_wrong_configuration_is_refused_at_once(key: str, value: object) -> None:
    """An unknown key, or a value that makes no sense, ends the start."""
    bare = Flask("bare")
    bare.config[key] = value
    with pytest.raises(ConfigurationError):
        CacheExt(bare)


def test_nothing_is_started_before_the_first_read(redis_url: str, namespace: str) -> None:
    """Building an application starts no thread and opens no connection, so it may fork afterwards."""
    before = set(threading.enumerate())
    app = Flask("forking")
    app.config.update(CACHE_EXT_REDIS_URL=redis_url, CACHE_EXT_NAMESPACE=namespace)
    cache: TieredCache = CacheExt().init_app(app)
    assert cache.gateway is not None
    assert set(threading.enumerate()) == before
    assert cache.gateway.connections() == (0, 0)
    assert cache.get_or_load("key", lambda: 1) == 1
    assert {thread.name for thread in set(threading.enumerate()) - before} == {
        "cache-ext-backplane",
        "cache-ext-upkeep",
    }
    cache.close()


def test_request_has_one_budget_for_all_its_reads(app: Flask) -> None:
    """Within a request all reads draw on one budget; outside of any there is none."""
    seen = []

    @app.get("/")
    def view() -> str:
        seen.extend([current_budget(), current_budget()])
        return ""

    app.test_client().get("/")
    assert seen[0] is not None
    assert seen[0] is seen[1]
    assert current_budget() is None
