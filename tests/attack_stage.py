"""A real service with accounts of every tier, for attackers, and requests that no good client sends."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache_ext import open_cache
from shivx.identity import Tier
from tests.accounts_stage import PASSWORD, SECRET, Office, sqlite_url
from tests.servers import SharedServers
from tests.service import Answer, GunicornService

ANSWER_SECONDS = 10.0
LIMITS = {
    "ANONYMOUS": 100_001,
    "AUTHENTICATED": 100_002,
    "PREMIUM": 100_003,
    "ADMIN": 100_004,
    "SERVICE": 100_005,
}
"""Too high to be met, each another, so that an answer's headers tell whom the service took the client for."""
SHOWN = "/api/market/pairs"


@dataclass(frozen=True)
class Known:
    """An account: its number, its name, and an API key with all scopes it may have."""

    id: int
    name: str
    key: str


@dataclass(frozen=True)
class Fortress:
    """A running service and what its owner knows."""

    service: GunicornService
    redis_url: str
    accounts: Mapping[Tier, Known]
    database_url: str

    def send(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: Any = None
    ) -> Answer:
        """Send a request; *body* goes as JSON."""
        given = dict(headers or {})
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        return self.service.send(method, path, data, given)

    def by_key(self, tier: Tier) -> dict[str, str]:
        """Return the headers of a client with a key of that tier."""
        return {"X-API-Key": self.accounts[tier].key}

    def login(self, tier: Tier, headers: Mapping[str, str] | None = None) -> str:
        """Sign in; return the cookie, as ``name=value``."""
        answer = self.try_login(self.accounts[tier].name, PASSWORD, headers)
        assert answer.status == 200, answer.body
        return cookie_in(answer)

    def try_login(self, name: str, password: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return what the login answers."""
        return self.send("/api/auth/login", headers, "POST", {"username": name, "password": password})

    def raw(self, *lines: str, path: str = SHOWN) -> tuple[int, str]:
        """Send a GET with these header lines, as they are; return the status and the whole answer."""
        host, _, port = self.service.url.removeprefix("http://").partition(":")
        head = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close", *lines, "", ""]
        with socket.create_connection((host, int(port)), ANSWER_SECONDS) as line:
            line.sendall("\r\n".join(head).encode("latin-1"))
            with line.makefile("rb") as answer:
                text = answer.read().decode("latin-1")
        return int(text.split(" ", 2)[1]), text


def tier_in(answer: Answer) -> str:
    """Return for whom the service took the client, by the limit that it told him."""
    (tier,) = re.findall(r'^"(\w+)";q=\d+', answer.headers["RateLimit-Policy"])
    return tier


def cookie_in(answer: Answer) -> str:
    """Return the cookie that an answer sets, as ``name=value``; "" if it sets none."""
    return (answer.headers["Set-Cookie"] or "").partition(";")[0]


@contextmanager
def fortress(
    folder: Path, redis_url: str, shared: SharedServers | None = None, workers: int = 1, **env: str
) -> Iterator[Fortress]:
    """Run the service on that Redis, with an account of each tier, until the block ends.

    Args:
        folder: for its database.
        shared: where a service that outlives a test is noted.
        env: further settings, without ``SHIVX_``.
    """
    database_url = sqlite_url(folder)
    office = Office(open_cache("memory://", secret_keys=(SECRET,)), database_url)
    with closing(office.cache), closing(office.access):
        office.database.upgrade()
        accounts = {}
        for tier in Tier:
            if tier is not Tier.ANONYMOUS:
                made = office.accounts.create(f"the-{tier}", tier, PASSWORD)
                scopes = None if tier is Tier.SERVICE else ["read", "keys"]
                if tier is Tier.ADMIN:
                    scopes = ["read", "keys", "events", "admin"]
                accounts[tier] = Known(made.id, made.name, office.keys.create(made.id, "all", scopes).text)
    settings = {
        **{f"LIMIT_{tier}": str(limit) for tier, limit in LIMITS.items()},
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "SECRET_KEYS": SECRET,
        "CACHE_OP_TIMEOUT": "1",  # so that a busy machine is not taken for a dead Redis
        **env,
    }
    given = {f"SHIVX_{name}": value for name, value in settings.items()}
    with GunicornService(workers=workers, env=given) as service:
        if shared is not None:
            shared.others.append(service)
        yield Fortress(service, redis_url, accounts, database_url)
        if shared is not None:
            shared.others.remove(service)
