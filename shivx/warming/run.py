"""The process that warms: ``python -m shivx.warming.run --job ID --service PID [--pairs A,B]``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys

from msgspec import to_builtins

from cache_ext.errors import StoreUnavailable
from cache_ext.stats.reporting import hottest
from shivx.app import create_app
from shivx.errors import ShivxError
from shivx.jobs.report import Report
from shivx.warming.starting import note_end
from shivx.warming.targets import chosen
from shivx.warming.warmer import Warmed, Warmer
from shivx.wiring import Services, services_of

log = logging.getLogger(__name__)

NICENESS = 5
"""Beside a service, which goes first."""


class NothingWarmed(ShivxError):
    """Everything failed."""


def main() -> int:
    """Warm; return the exit status."""
    options = _parser().parse_args()
    os.nice(NICENESS)
    services = services_of(create_app())
    try:
        services.start()  # before a signal can come in its midst
        jobs = services.launcher.jobs
        report = Report(jobs, options.job, options.service)
        usual = options.pairs is None
        noting = note_end(jobs, lambda: report.cancelled) if usual else contextlib.nullcontext()
        with report.telling() as done, noting:
            done(to_builtins(_warm(services, options.pairs, report)))
    except (ShivxError, StoreUnavailable) as error:
        log.warning("nothing was warmed: %s", error)
        return 1
    except SystemExit:
        os._exit(1)  # told to end: what was interrupted is in no state to be closed in order
    finally:
        services.close()
    return 0


def _warm(services: Services, pairs: str | None, report: Report) -> Warmed:
    """Warm *pairs*, or those that are set and the hottest.

    Raises:
        NothingWarmed: all of it failed.
    """
    named = services.settings.warm_pairs if pairs is None else pairs.split(",")
    hot = hottest(services.cache) if pairs is None else {}
    targets = chosen(named, services.market.sources, hot)
    found = Warmer(services, report.progress).warm(targets)
    for failure in found.failed:
        log.warning("not warmed: %s", failure)
    if found.failed and not found.loaded:
        raise NothingWarmed(str(found.failed[0]))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", required=True, help="of which this is the process")
    parser.add_argument("--service", type=int, required=True, help="the process without which it ends")
    parser.add_argument("--pairs", help="A,B,…; what is set, and the hottest, if not given")
    return parser


if __name__ == "__main__":
    sys.exit(main())
