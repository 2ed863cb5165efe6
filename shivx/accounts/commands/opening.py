"""What a command works with, its failures as one line, and all closed when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import current_app

from shivx.accounts.access import Access
from shivx.errors import ShivxError
from shivx.times import format_time
from shivx.wiring import services_of


@contextmanager
def opened_access(*, tells: bool = False) -> Iterator[Access]:
    """Yield what decides who gets in; raise errors in the form that ends a command with one line.

    Args:
        tells: the body changes what running processes know, so Redis is waited for.
    """
    services = services_of(current_app)
    click.get_current_context().call_on_close(services.close)  # not before the outcome is in the audit
    try:
        if tells:
            services.cache.start()
        yield services.access
        untold = services.cache.runtime.outbox.waiting
    except ShivxError as error:
        raise click.ClickException(str(error)) from None
    if untold:
        click.echo("Redis does not answer: for up to a minute others may know nothing of this.", err=True)


def moment(seconds: float | None) -> str:
    """Return a time, Unix seconds, for people."""
    return "never" if seconds is None else format_time(int(seconds * 1000))
