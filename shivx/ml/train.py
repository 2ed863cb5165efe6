"""The process that trains a model: ``python -m shivx.ml.train NAME``.

It writes JSON lines: ``{"progress", "step"}`` as it goes on, ``{"result"}`` or ``{"error"}`` at the end.
It is a job (see `shivx.jobs`), so only one at a time trains a model.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from cache_ext.errors import StoreUnavailable
from shivx.app import create_app
from shivx.errors import ShivxError
from shivx.jobs.report import Report
from shivx.jobs.store import new_id
from shivx.ml.kinds import MODELS
from shivx.ml.making import train
from shivx.pairs import parse_pair
from shivx.wiring import services_of

NICENESS = 5
"""Beside a service, which goes first: on a machine that is busy with it, training has a quarter of a core."""


def main() -> int:
    """Train, judge, keep and perhaps activate; return the exit status."""
    options = _parser().parse_args()
    if options.service is not None:
        os.nice(NICENESS)
    services = services_of(create_app())
    source = options.source or services.market.sources[0]
    named = options.pairs.split(",") if options.pairs else services.settings.warm_pairs
    job = options.job or new_id(options.name)
    try:
        services.start()  # before a signal can come in its midst
        if options.job is None:
            services.launcher.jobs.begin(job)
        report = Report(services.launcher.jobs, job, options.service)
        with report.telling() as done:

            def tell(share: float, step: str) -> None:
                report.progress(share)
                _say(progress=share, step=step)

            pairs = [parse_pair(each, "pairs") for each in named]
            result = train(
                services,
                options.name,
                source,
                pairs,
                force=options.force,
                tell=tell,
                settle=report.settle,
            )
            done(result)
        _say(result=result)
    except (ShivxError, StoreUnavailable) as error:
        _say(error=str(error))
        return 1
    except SystemExit:
        os._exit(1)  # told to end: what was interrupted is in no state to be closed in order
    finally:
        services.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*MODELS])
    parser.add_argument("--source")
    parser.add_argument("--pairs")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--job", help="of which this is the process; one of its own if not given")
    parser.add_argument("--service", type=int, help="the process without which the training ends")
    return parser


def _say(**line: object) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
