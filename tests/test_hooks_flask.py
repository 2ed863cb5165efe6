"""Hooks in Flask: `ext.on` and `ext.emit`, within the application's context."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask, current_app

from cache_ext import MISS, CacheExt, Event, Fate, cache_of
from tests.waiting import until


@pytest.fixture
def make_app() -> Iterator[object]:
    """Make applications that one extension serves; their caches are closed at the end."""
    made: list[Flask] = []

    def make(ext: CacheExt, name: str, **config: object) -> Flask:
        app = Flask(name)
        app.config.update({"CACHE_EXT_REDIS_URL": "memory://", **config})
        ext.init_app(app)
        made.append(app)
        return app

    yield make
    for app in made:
        cache_of(app).close()


def test_a_hook_runs_within_the_application(make_app) -> None:
    """It may use `current_app`, and with it everything that needs a context."""
    ext = CacheExt()
    seen: list[tuple[str, object]] = []

    @ext.on("trade_executed")
    def note(event: Event) -> None:
        seen.append((current_app.name, event.data))

    app = make_app(ext, "shop")

    @app.post("/trades")
    def trade() -> dict[str, str]:
        return {"event": ext.emit("trade_executed", {"amount": 3}).fate}

    assert app.test_client().post("/trades").json == {"event": Fate.HERE}
    until(lambda: seen, "the hook is called")
    assert seen == [("shop", {"amount": 3})]


def test_one_extension_serves_several_applications(make_app, redis_url, namespace) -> None:
    """A hook is called for events of each application, within that one, be it added before or after."""
    ext = CacheExt()
    shop = make_app(ext, "shop")
    depot = make_app(ext, "depot", CACHE_EXT_REDIS_URL=redis_url, CACHE_EXT_NAMESPACE=namespace)
    seen: list[tuple[str, object]] = []

    @ext.on("sold")
    def note(event: Event) -> None:
        seen.append((current_app.name, event.data))

    with shop.app_context():
        ext.emit("sold", 1)
    with depot.app_context():
        ext.emit("sold", 2)
    until(lambda: len(seen) == 2, "both are called")
    assert sorted(seen) == [("depot", 2), ("shop", 1)]


def test_an_extension_can_have_rules(make_app, redis_url, namespace) -> None:
    """They are handed in as a callable; an event invalidates in the cache of its own application."""
    ext = CacheExt(event_tags=lambda event: [f"pair:{event.data}"])
    shop = make_app(ext, "shop")
    depot = make_app(ext, "depot", CACHE_EXT_REDIS_URL=redis_url, CACHE_EXT_NAMESPACE=namespace)
    for app in (shop, depot):
        cache_of(app).set("price", 1, ttl=60, tags=["pair:SOL-USDC"])
    with depot.app_context():
        assert ext.emit("trade_executed", "SOL-USDC").tags == ("pair:SOL-USDC",)
    assert cache_of(depot).get("price") is MISS
    assert cache_of(shop).get("price") == 1


def test_setting_an_application_up_starts_nothing(make_app, redis_url, namespace) -> None:
    """Hooks begin to run in the process that first uses the cache, after any fork."""
    ext = CacheExt()
    ext.on("sold", name="nothing")(lambda event: None)
    app = make_app(ext, "shop", CACHE_EXT_REDIS_URL=redis_url, CACHE_EXT_NAMESPACE=namespace)
    runner = cache_of(app).hooks._runner
    assert runner._thread is None
    cache_of(app).start()
    until(lambda: runner._thread is not None and runner._thread.is_alive(), "the thread of the hooks runs")
