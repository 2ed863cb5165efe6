"""The Flask extension: the one place where the parts of the cache and an application are joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from flask import Flask, current_app

from cache_ext.engine import TieredCache
from cache_ext.errors import ConfigurationError
from cache_ext.hooks.event import Emitted, Event
from cache_ext.hooks.registry import Registry
from cache_ext.hooks.rules import TagsOf
from cache_ext.settings import CacheSettings
from cache_ext.stats.reporting import config_key
from cache_ext.transport.budget import budget
from cache_ext.transport.opening import make_gateway
from cache_ext.web.cli import command_group
from cache_ext.web.decorators import memoize
from cache_ext.web.responses import register_responses
from cache_ext.web.state import EXTENSION_KEY, SETTING_NAMES, cache_of
from cache_ext.web.views import cached

F = TypeVar("F", bound=Callable[[Event], Any])


class CacheExt:
    """Two-level cache for Flask. One instance may serve many apps.

    Args:
        app: set up at once; without it, call `init_app`.
        before_connect: called before new connections outside of requests; may start a server.
        event_tags: returns the tags that an event invalidates; see `Hooks.invalidate_by`.
        setting_name: returns what a field of `CacheSettings` is called where it is set, for recommendations.
    """

    memoize = staticmethod(memoize)
    cached = staticmethod(cached)

    def __init__(
        self,
        app: Flask | None = None,
        *,
        before_connect: Callable[[], None] | None = None,
        event_tags: TagsOf | None = None,
        setting_name: Callable[[str], str] = config_key,
    ) -> None:
        self._before_connect = before_connect
        self._event_tags = event_tags
        self._setting_name = setting_name
        self._hooks = Registry()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> TieredCache:
        """Build *app*'s cache from its ``CACHE_EXT_*`` keys (see `CacheSettings`) and return it.

        Nothing is connected or started: that happens in the process that first asks, after any fork.

        Raises:
            ConfigurationError: a key is wrong, or *app* already has a cache.
        """
        if EXTENSION_KEY in app.extensions:
            raise ConfigurationError("init_app was called twice on this app")
        settings = CacheSettings.from_config(app.config)
        cache = TieredCache(settings, make_gateway(settings, before_connect=self._before_connect))
        register_responses(cache)
        cache.hooks.registry.follow(self._hooks, app.app_context)
        if self._event_tags is not None:
            cache.hooks.invalidate_by(self._event_tags, cache)
        app.extensions[EXTENSION_KEY] = cache
        app.extensions[SETTING_NAMES] = self._setting_name
        app.cli.add_command(command_group())
        app.wsgi_app = _Budgeted(app.wsgi_app, settings.op_timeout)  # type: ignore[method-assign]
        return cache

    def on(self, event: str, *, name: str | None = None) -> Callable[[F], F]:
        """Return a decorator that has its function called with each `Event` of the name *event*.

        It is called within the context of each application that this extension serves; see `Hooks.on`.
        """
        return self._hooks.on(event, name=name)

    def emit(self, name: str, data: Any = None, *, id: str | None = None) -> Emitted:
        """Have the hooks of the current application called; see `Hooks.emit`."""
        return self.cache.hooks.emit(name, data, id=id)

    @property
    def cache(self) -> TieredCache:
        """The current application's cache. Needs an application context."""
        return cache_of(current_app)


class _Budgeted:
    """Gives each request its time for Redis, however many commands it sends."""

    def __init__(self, app: Callable[..., Iterable[bytes]], seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with budget(self._seconds):
            return self._app(environ, start_response)
