"""``flask accounts audit``: the audit on the command line."""

from __future__ import annotations

import json

import click
import msgspec
from flask import current_app

from shivx.audit.audit import Audit
from shivx.audit.events import Row
from shivx.errors import ShivxError
from shivx.times import format_time
from shivx.wiring import services_of

ABOVE_ALL = 2**63 - 1
"""No row has a higher number."""
WHOLE, DAMAGED, UNCHECKED = 0, 1, 2
"""Exit codes of ``--verify``: nothing is wrong; something is; some of it could not be checked."""


@click.option("--verify", "verifies", is_flag=True, help="Check that no row was changed, moved or removed.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Rows to show.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, a line a row.")
def audit(verifies: bool, limit: int, as_json: bool) -> None:
    """Show the newest rows of the audit, or check all of it.

    With --verify exits with 0 if the chain is whole, 1 if it is not, 2 if it is as far as it can be checked.
    """
    services = services_of(current_app)
    try:
        if verifies:
            raise SystemExit(_verify(services.audit, as_json))
        for row in reversed(services.audit.page(limit, ABOVE_ALL).rows):
            click.echo(_line(row, as_json))
    except ShivxError as error:
        raise click.ClickException(str(error)) from None
    finally:
        services.close()


def _verify(audit: Audit, as_json: bool) -> int:
    report = audit.verify()
    code = DAMAGED if report.findings else UNCHECKED if report.unchecked else WHOLE
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(report)))
        return code
    for finding in report.findings:
        row = "" if finding.number is None else f"row {finding.number} "
        click.echo(finding.text if finding.text.startswith("row") else f"{row}{finding.text}")
    for row_ in report.unfinished:
        click.echo(f"row {row_.number} ({row_.event.action}) has no outcome: under way, or its process ended")
    if report.unchecked:
        click.echo(f"the first {report.unchecked} rows are signed with a key that is no longer listed")
    state = {WHOLE: "whole", DAMAGED: "damaged", UNCHECKED: "whole as far as it can be checked"}[code]
    click.echo(f"{report.rows} rows, {state}; the last is {report.head.number} {report.head.mac}")
    return code


def _line(row: Row, as_json: bool) -> str:
    event = row.event
    if as_json:
        return json.dumps(msgspec.to_builtins(row))
    who = event.name or event.subject
    count = f" {event.count} times" if event.count > 1 else ""
    of = f" (of {event.of})" if event.of is not None else ""
    return (
        f"{row.number:>8} {format_time(event.at)} {who} from {event.address or '-'}: "
        f"{event.action} {event.outcome}{of}{count} {event.target}"
    )
