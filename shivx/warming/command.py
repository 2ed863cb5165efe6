"""``flask cache warm``: load ahead, in this process, and see how it goes."""

from __future__ import annotations

import json
import sys

import click
from flask import Flask, current_app
from msgspec import to_builtins

from cache_ext.errors import StoreUnavailable
from cache_ext.stats.reporting import hottest
from cache_ext.web.health import store_answers
from shivx.errors import InvalidParameter
from shivx.warming.targets import Target, chosen
from shivx.warming.warmer import Warmer
from shivx.wiring import Services, services_of

STEPS_SHOWN = 1000


def add_warm_command(app: Flask) -> None:
    """Put the command beside the others of the cache."""
    group = app.cli.commands["cache"]
    if not isinstance(group, click.Group):
        raise TypeError("the cache has no group of commands")
    group.command("warm")(warm)


@click.option("--pairs", help="A,B,…; SHIVX_WARM_PAIRS and the hottest of the last hour if not given.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def warm(pairs: str | None, as_json: bool) -> None:
    """Load what clients ask for of some pairs, so that nobody waits for it.

    Exits with 0 if all is loaded, 1 if anything failed (a line each) or Redis does not answer.
    """
    services = services_of(current_app)
    click.get_current_context().call_on_close(services.close)  # once what became of it is in the audit
    targets = None if pairs is None else _named(services, pairs)
    services.start()
    if not store_answers(services.cache):
        raise click.ClickException("Redis does not answer: nothing that is loaded would be kept")
    targets = _usual(services) if targets is None else targets
    with click.progressbar(length=STEPS_SHOWN, label="warming", file=sys.stderr) as bar:

        def tell(share: float) -> None:
            bar.update(int(share * STEPS_SHOWN) - bar.pos)

        found = Warmer(services, tell).warm(targets)
    for failure in found.failed:
        click.echo(f"not warmed: {failure}", err=True)
    told = f"{found.loaded} answers of {found.pairs} pairs are in the cache"
    missing = f", {found.skipped} wait for models that are not trained yet" if found.skipped else ""
    click.echo(json.dumps(to_builtins(found)) if as_json else told + missing)
    if found.failed:
        raise SystemExit(1)


def _named(services: Services, pairs: str) -> list[Target]:
    try:
        return chosen(pairs.split(","), services.market.sources, {})
    except InvalidParameter as error:
        raise click.UsageError(f"--pairs: {error}") from None


def _usual(services: Services) -> list[Target]:
    try:
        hot = hottest(services.cache)
    except StoreUnavailable as error:
        raise click.ClickException(f"Redis does not answer: {error}") from None
    return chosen(services.settings.warm_pairs, services.market.sources, hot)
