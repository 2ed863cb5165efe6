"""``flask cache stats``: what all processes that run the cache counted, as tables or JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import click
import msgspec
from flask import current_app

from cache_ext.engine import TieredCache
from cache_ext.stats.report import Report
from cache_ext.stats.reporting import report_of
from cache_ext.web.state import cache_of, setting_name_of


@click.option("--json", "as_json", is_flag=True, help="Answer in JSON; with --watch, a line each time.")
@click.option("--watch", is_flag=True, help="Go on, every --every seconds, until Ctrl-C.")
@click.option("--every", type=click.FloatRange(min=0.1), default=2.0, help="Seconds, with --watch.")
def stats(as_json: bool, watch: bool, every: float) -> None:
    """Say what all workers of all instances counted in the last hour.

    Exits with 0 if that is known, 1 if it is not: Redis does not answer, or nobody tells.
    """
    cache = cache_of(current_app)
    try:
        reports = _reports(cache, every if watch else None)
        if as_json:
            _as_json(reports)
        else:
            _as_tables(reports, watch)
    except KeyboardInterrupt:
        pass  # that is how one ends watching
    finally:
        cache.close()


def _reports(cache: TieredCache, every: float | None) -> Iterator[Report]:
    """Yield what is known now and, unless *every* is None, again after so many seconds, for ever.

    Raises:
        ClickException: nothing is known at first.
    """
    setting_name = setting_name_of(current_app)
    report = report_of(cache, setting_name)
    if not report.complete:  # of this process alone, which only asks, there is nothing to tell
        raise click.ClickException(f"nothing is known of the service: {report.incomplete_because}")
    yield report
    while every is not None:
        time.sleep(every)
        yield report_of(cache, setting_name)


def _as_json(reports: Iterable[Report]) -> None:
    for report in reports:
        click.echo(msgspec.json.encode(report).decode())


def _as_tables(reports: Iterable[Report], watch: bool) -> None:
    try:
        from cache_ext.web import tables  # noqa: PLC0415 (Rich, which this command alone needs)
    except ModuleNotFoundError as error:
        raise click.ClickException(f"tables need Rich (pip install rich), --json does not: {error}") from None
    tables.show(reports, watch)
