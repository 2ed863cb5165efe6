"""The shapes of answers about accounts, keys, sessions, the audit, and the service itself."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from blueprints.openapi.shapes import Moment


class Invalidated(Struct):
    """The tags that events ended."""

    invalidated: list[str]


class LoggedIn(Struct):
    """Who logged in."""

    account: int
    username: str
    tier: str


class Me(LoggedIn):
    """Who asks, what he may, and how he said who he is."""

    scopes: list[str]
    via: str


class Session(Struct):
    """A session; `current`: the one that asks."""

    id: str
    device: str
    address: str
    created_at: Moment
    last_seen_at: Moment
    expires_at: Moment
    current: bool


class Sessions(Struct):
    """Sessions, oldest first."""

    sessions: list[Session]
    next: str | None


class Key(Struct):
    """An API key without its text; `hint` is how that begins."""

    id: int
    name: str
    hint: str
    scopes: list[str]
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None


class Keys(Struct):
    """API keys, oldest first."""

    keys: list[Key]
    next: str | None


class NewKey(Struct):
    """A key's text, which nobody is shown again."""

    id: int
    key: str


class AuditEntry(Struct):
    """Something that was done, read or denied; without `number` while it is being counted."""

    number: int | None
    at: Moment
    action: str
    target: str
    outcome: str
    count: int
    subject: str
    account: int | None
    name: str | None
    tier: str
    via: str
    key: int | None
    address: str
    request_id: str
    of: int | None
    mac: str | None


class Audit(Struct):
    """Entries, newest first."""

    entries: list[AuditEntry]
    next: str | None


class Done(Struct, omit_defaults=True):
    """What was invalidated, and whether Redis knows: `done`, or `queued` until it is back."""

    dry_run: bool
    outcome: Literal["done", "queued"]
    tags: list[str] | None = None
    keys: list[str] | None = None
    paths: list[str] | None = None


class Flushed(Struct):
    """Which cache was emptied, and whether Redis knows."""

    outcome: Literal["done", "queued"]
    cache: str


class Away(Struct):
    """A part that does not answer, and what is so meanwhile."""

    part: str
    effect: str


class Health(Struct, omit_defaults=True):
    """How it is; admins are told which part answers, and what is `degraded`."""

    status: Literal["healthy", "degraded", "unhealthy"]
    redis: bool = True
    limits: bool = True
    sessions: bool = True
    backplane: bool = True
    database: bool = True
    origins: dict[str, bool] = {}
    degraded: list[Away] = []


class Alive(Struct):
    """A word for balancers and keepers."""

    status: Literal["alive", "ready", "draining", "starting"]
