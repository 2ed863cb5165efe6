"""``flask cache …``: what an operator does by hand, in the same Redis as the running service."""

from __future__ import annotations

import json

import click
from flask import current_app
from flask.cli import AppGroup

from cache_ext.coherence.receipts import Receipt
from cache_ext.errors import ConfigurationError
from cache_ext.web.health import Status, judge, store_answers
from cache_ext.web.state import cache_of

EXIT_CODES = {Status.HEALTHY: 0, Status.DEGRADED: 1, Status.UNHEALTHY: 2}


def command_group() -> AppGroup:
    """Return the commands, for ``app.cli.add_command``."""
    group = AppGroup("cache", help="Look after the cache.")
    group.command("health")(health)
    group.command("invalidate")(invalidate)
    group.command("flush")(flush)
    return group


@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def health(as_json: bool) -> None:
    """Say whether Redis answers; exit with 0 (healthy), 1 (degraded) or 2 (unhealthy)."""
    cache = cache_of(current_app)
    status = judge(store_answers(cache), {})
    click.echo(json.dumps({"status": status}) if as_json else status)
    cache.close()
    raise SystemExit(EXIT_CODES[status])


@click.option("--tag", "tags", multiple=True, help="Invalidate what carries this tag; may be repeated.")
@click.option("--key", "keys", multiple=True, help="Delete this key; may be repeated.")
def invalidate(tags: tuple[str, ...], keys: tuple[str, ...]) -> None:
    """Make entries count no more, in Redis and in every process."""
    if not tags and not keys:
        raise click.UsageError("name a --tag or a --key")
    cache = cache_of(current_app)
    try:
        receipts = [cache.invalidate_tags(*tags)] if tags else []
        receipts += [cache.delete(*keys)] if keys else []
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    finally:
        cache.close()
    _report(receipts)


@click.option("--reason", required=True, help="Why; goes to the log.")
def flush(reason: str) -> None:
    """Make everything in the namespace count no more."""
    cache = cache_of(current_app)
    receipt = cache.clear()
    cache.close()
    _report([receipt])
    current_app.logger.warning("cache flushed by hand: %s", reason)


def _report(receipts: list[Receipt]) -> None:
    """Say that it is done. A command has no later in which to tell Redis, so queued is failed."""
    if any(receipt.queued for receipt in receipts):
        raise click.ClickException("Redis does not answer: nothing was invalidated")
    click.echo("done")
