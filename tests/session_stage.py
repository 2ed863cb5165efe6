"""A shop with sessions, as one process would run it, and a look at what lies in Redis."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import redis
from flask import Flask, jsonify, request, session

from cache_ext import CacheExt
from cache_ext.sessions.sessions import Sessions

SECRET = "a secret that nobody else has, long enough"


class Shop:
    """The application, its sessions, and clients of it.

    Args:
        url: of Redis.
        namespace: of all processes of the shop.
        epochs: of accounts, as a database would have them.
        settings: of the cache.
        options: of the sessions.
    """

    def __init__(
        self,
        url: str,
        namespace: str,
        epochs: dict[int, int] | None = None,
        settings: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.app = Flask("shop")
        self.app.testing = True
        given = {"redis_url": url, "namespace": namespace, "op_timeout": 1.0, "secret_keys": (SECRET,)}
        merged = {**given, **(settings or {})}
        self.app.config.update({f"CACHE_EXT_{name.upper()}": value for name, value in merged.items()})
        self.cache = CacheExt().init_app(self.app)
        self.epochs = {} if epochs is None else epochs
        epoch_of = None if epochs is None else self.epochs.get
        self.sessions = Sessions(self.app, self.cache, **{"epoch_of": epoch_of, **options})
        self.commands: list[tuple[Any, ...]] = []
        self._watch()
        self._routes()

    def client(self) -> Any:
        """Return a browser of its own."""
        return self.app.test_client()

    def signed_in(self, account: int = 1) -> Any:
        """Return a browser that is signed in."""
        client = self.client()
        assert client.post(f"/in/{account}").status_code == 200
        return client

    def close(self) -> None:
        """Close the connections."""
        self.cache.close()

    def _watch(self) -> None:
        gateway = self.cache.gateway
        run = gateway.run

        def watched(commands: Any, operation: str = "other") -> Any:
            if operation == "session":
                self.commands.append(tuple(commands))
            return run(commands, operation)

        gateway.run = watched

    def _routes(self) -> None:
        app, sessions = self.app, self.sessions
        app.add_url_rule("/plain", view_func=lambda: "plain", endpoint="plain")
        app.add_url_rule("/get", view_func=lambda: jsonify(dict(session)), endpoint="get")

        @app.route("/set/<key>/<value>")
        def put(key: str, value: str) -> str:
            session[key] = value
            return "set"

        @app.post("/in/<int:account>")
        def enter(account: int) -> str:
            sessions.sign_in(account, self.epochs.get(account, 0))
            return "in"

        @app.post("/out")
        def leave() -> str:
            sessions.sign_out()
            return "out"

        @app.route("/who")
        def who() -> Any:
            facts = sessions.reader.read(request.environ)
            return jsonify(None if facts is None else facts.account)


def held_write(shop: Shop, client: Any, meanwhile: Callable[[], Any]) -> Any:
    """Return the answer to a write before which, when the session was read, *meanwhile* happened."""
    writer = shop.sessions._writer
    put = writer._put

    def late(mine: Any, changes: Any) -> Any:
        writer._put = put
        meanwhile()
        return put(mine, changes)

    writer._put = late
    return client.get("/set/late/1")


def cookie_of(client: Any) -> str | None:
    """Return the session's id that a browser holds, None if none."""
    for name in ("session", "__Host-session"):
        found = client.get_cookie(name)
        if found is not None:
            return found.value
    return None


def stored(url: str, pattern: str) -> dict[str, bytes]:
    """Return the keys of Redis whose name, without namespace and bucket, matches; and their bytes."""
    with redis.Redis.from_url(url) as client:
        names = [name.decode() for name in client.scan_iter()]
        wanted = [name for name in names if re.search(r":x:" + pattern, name)]
        return {name: client.dump(name) for name in wanted}


def session_keys(url: str) -> list[str]:
    """Return the Redis keys of all sessions."""
    return sorted(stored(url, "session:"))
