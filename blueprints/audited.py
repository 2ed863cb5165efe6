"""Recording in the audit what a request does, with who asks, from where, and the request's id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from typing import Any

from flask import current_app, request

from blueprints.rights import ENDPOINT, caller_in, current_caller
from shivx.audit.audit import Audit, Change
from shivx.audit.events import Outcome
from shivx.identity import Caller, Tier
from shivx.request_ids import REQUEST_ID
from shivx.wiring import services_of

UNKNOWN = "unknown route"
"""What is denied before, or without, a route being found."""


def record(action: str, outcome: Outcome, target: str | None = None, caller: Caller | None = None) -> None:
    """Record that the caller did *action*; see `Audit.record`.

    Args:
        target: what it was about, the path if None.
        caller: who he is, if the gate could not know yet.
    Raises:
        AuditUnavailable: it cannot be recorded.
    """
    where = request.path if target is None else target
    audit = services_of(current_app).audit
    audit.record(caller or current_caller(), action, where, outcome, *_whence(request.environ))


def audited_change(action: str, target: str) -> AbstractContextManager[Change]:
    """Return a with block for what changes something: recorded before and after; see `Audit.change`."""
    audit = services_of(current_app).audit
    return audit.change(current_caller(), action, target, *_whence(request.environ))


@contextmanager
def own_change(action: str, target: str) -> Iterator[None]:
    """Return a with block for what somebody changes of his own account.

    An admin's change is recorded before and after, as all that he changes. That of anybody else is counted
    when it is done: it neither waits for the audit nor fails because of it.

    Raises:
        AuditUnavailable: an admin's cannot be recorded, and the block is not entered.
    """
    if current_caller().tier is Tier.ADMIN:
        with audited_change(action, target):
            yield
    else:
        yield
        record(action, Outcome.NOTED, target)


def denials_to(audit: Audit) -> Callable[[dict[str, Any], int], None]:
    """Return what records a denial, for `shivx.edge.envelope`: 401, 403 and 429, whoever decided."""

    def denied(environ: dict[str, Any], status: int) -> None:
        route = environ.get(ENDPOINT, UNKNOWN)
        action = f"{route} {HTTPStatus(status).phrase.lower()}"
        path = environ.get("PATH_INFO", "").encode("latin-1").decode(errors="replace")
        target = f"{environ.get('REQUEST_METHOD', '')} {path}"
        outcome = Outcome.LIMITED if status == HTTPStatus.TOO_MANY_REQUESTS else Outcome.DENIED
        audit.record(caller_in(environ), action, target, outcome, *_whence(environ))

    return denied


def _whence(environ: dict[str, Any]) -> tuple[str, str]:
    return environ.get(REQUEST_ID, ""), environ.get("REMOTE_ADDR", "")
