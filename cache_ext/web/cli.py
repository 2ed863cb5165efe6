"""``flask cache …``: what an operator does by hand, in the same Redis as the running service."""

from __future__ import annotations

import json
import sys

import click
import msgspec
from flask import current_app
from flask.cli import AppGroup

from cache_ext.coherence.preview import Preview
from cache_ext.coherence.reasons import because
from cache_ext.coherence.receipts import Receipt
from cache_ext.engine import TieredCache
from cache_ext.errors import ConfigurationError, StoreUnavailable
from cache_ext.web.explanation import explain
from cache_ext.web.figures import stats
from cache_ext.web.health import Status, judge, origins_known, store_answers
from cache_ext.web.state import cache_of

EXIT_CODES = {Status.HEALTHY: 0, Status.DEGRADED: 1, Status.UNHEALTHY: 2}


def command_group() -> AppGroup:
    """Return the commands, for ``app.cli.add_command``."""
    group = AppGroup("cache", help="Look after the cache.")
    group.command("health")(health)
    group.command("stats")(stats)
    group.command("explain")(explain)
    group.command("invalidate")(invalidate)
    group.command("flush")(flush)
    return group


@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def health(as_json: bool) -> None:
    """Say whether Redis and the origins answer; exit with 0 (healthy), 1 (degraded) or 2 (unhealthy).

    Of the origins it knows what the running service says; if Redis is away, it asks them itself.
    """
    cache = cache_of(current_app)
    redis = store_answers(cache)
    origins = origins_known(cache, ask_store=redis, ask_origins=not redis)
    status = judge(redis, origins)
    if as_json:
        click.echo(json.dumps({"status": status, "redis": redis, "origins": origins}))
    else:
        parts = {"Redis": redis} | {f"origin {name}": answers for name, answers in origins.items()}
        click.echo(status)
        for name in (name for name, answers in parts.items() if not answers):
            click.echo(f"  {name} does not answer")
    cache.close()
    raise SystemExit(EXIT_CODES[status])


@click.option("--tag", "tags", multiple=True, help="Invalidate what carries this tag; may be repeated.")
@click.option("--key", "keys", multiple=True, help="Delete this key; may be repeated.")
@click.option("--soft", is_flag=True, help="What carries a --tag is past its ttl, and may serve as stale.")
@click.option("--dry-run", is_flag=True, help="Change nothing; count what would be hit.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: answer in JSON.")
def invalidate(
    tags: tuple[str, ...], keys: tuple[str, ...], soft: bool, dry_run: bool, as_json: bool
) -> None:
    """Make entries count no more, in Redis and in every process.

    Exits with 0 if that is done (or counted), 1 if Redis does not answer, 2 if the command makes no sense.
    """
    if not tags and not keys:
        raise click.UsageError("name a --tag or a --key")
    if soft and keys:
        raise click.UsageError("--soft goes with --tag: a key is deleted")
    cache = cache_of(current_app)
    try:
        if dry_run:
            _show(_counted(cache, tags, keys), as_json)
            return
        with because("flask cache invalidate"):
            receipts = [cache.invalidate_tags(*tags, soft=soft)] if tags else []
            receipts += [cache.delete(*keys)] if keys else []
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    except StoreUnavailable as error:
        raise click.ClickException(f"Redis does not answer, so nothing was counted: {error}") from error
    finally:
        outlives = cache.runtime.outbox.outlives
        cache.close()
    _report(receipts, outlives)


@click.option("--reason", required=True, help="Why; goes to the log.")
def flush(reason: str) -> None:
    """Make everything in the namespace count no more."""
    cache = cache_of(current_app)
    with because(f"flask cache flush: {reason}"):
        receipt, outlives = cache.clear(), cache.runtime.outbox.outlives
    cache.close()
    _report([receipt], outlives)
    current_app.logger.warning("cache flushed by hand: %s", reason)


def _counted(cache: TieredCache, tags: tuple[str, ...], keys: tuple[str, ...]) -> Preview:
    """Return what would be hit; on a terminal a bar shows how far counting is."""
    if not sys.stderr.isatty():
        return cache.preview(*tags, keys=keys)
    with click.progressbar(length=100, label="counting", file=sys.stderr) as bar:

        def progress(share: float) -> bool:
            bar.update(int(100 * share) - bar.pos)
            return True

        return cache.preview(*tags, keys=keys, progress=progress)


def _show(found: Preview, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found)))
        return
    about = "about " if found.estimate else ""
    click.echo(f"would hit {about}{found.matched} of {found.examined} entries, {found.bytes} bytes")
    click.echo(f"  of these {found.fresh} are fresh; the others may still serve as stale")
    if found.undecodable:
        click.echo(f"  beside them lie {found.undecodable} values that are no entries")
    for name in found.names:
        click.echo(f"  {name}")
    if found.matched > len(found.names):
        click.echo("  …")


def _report(receipts: list[Receipt], outlives: bool) -> None:
    """Say that it is done. A command has no later in which to tell Redis, so queued is failed.

    Args:
        outlives: what is queued stays in the host's journal.
    """
    if any(receipt.queued for receipt in receipts):
        what = "what runs on this host will tell it" if outlives else "nothing was invalidated"
        raise click.ClickException(f"Redis does not answer: {what}")
    click.echo("done")
