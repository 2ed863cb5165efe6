"""Recording what operators change on the command line, as what admins change over HTTP."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from shivx.errors import AuditUnavailable
from shivx.identity import Caller, Tier
from shivx.wiring import services_of

CHANGES: Mapping[str, str] = {
    "cache flush": "cache.flush",
    "cache invalidate": "cache.invalidate",
    "cache warm": "cache.warm",
    "accounts create": "accounts.create",
    "accounts disable": "accounts.disable",
    "accounts passwd": "accounts.passwd",
    "accounts tier": "accounts.tier",
    "accounts logout": "accounts.logout",
    "accounts keys create": "keys.create",
    "accounts keys revoke": "keys.revoke",
    "ml train": "models.train",
    "ml activate": "models.activate",
}
"""Commands that change something, and what the audit calls it."""
ADDRESS = "command line"


def audit_commands(app: Flask) -> None:
    """Let each of `CHANGES` among the commands of *app* be recorded before it runs and after."""
    for words, action in CHANGES.items():
        command: click.Command = app.cli
        for word in words.split():
            if not isinstance(command, click.Group):
                raise LookupError(words)
            command = command.commands[word]
        if command.callback is not None:
            command.callback = with_appcontext(_recorded(command.callback, action))


def _recorded(callback: Callable[..., Any], action: str) -> Callable[..., Any]:
    @wraps(callback)
    def recording(**given: Any) -> Any:
        if given.get("dry_run"):
            return callback(**given)
        services = services_of(current_app)
        click.get_current_context().call_on_close(services.access.close)
        target = ", ".join(
            f"{name}: {_shown(value)}" for name, value in sorted(given.items()) if _says(value)
        )
        try:
            with services.audit.change(_operator(), action, target, "", ADDRESS):
                return callback(**given)
        except AuditUnavailable as error:
            raise click.ClickException(f"nothing was done, since it cannot be recorded: {error}") from None

    return recording


def _operator() -> Caller:
    """Return who runs the command: an admin, since he has the keys and the database in his hands."""
    name = getpass.getuser()
    return Caller(Tier.ADMIN, f"operator:{name}", name=name)


def _says(value: object) -> bool:
    return bool(value) and not isinstance(value, bool)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
