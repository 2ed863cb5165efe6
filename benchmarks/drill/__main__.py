"""The fault drill: ``make drill``, or ``python -m benchmarks.drill``.

Real faults befall the service while 500 requests a second come; prints a table and writes
``build/drill.json``. It takes some minutes. What this machine lacks for a fault is said in its row.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.drill.faults import FAULTS, Fault
from benchmarks.drill.running import FULL, TINY, Outcome, Sizes, drill
from benchmarks.rows import in_words
from benchmarks.stage import cpu, is_busy
from tests.servers import ServerAbsent

OUTPUT = Path("build/drill.json")
P99_MOST, RECOVERY_MOST = 0.25, 2.0
HEADINGS = (
    "fault",
    "requests",
    "failed",
    "wrong or unmarked stale",
    "p99 during",
    "seconds to recover",
    "met",
    "lost with a worker",
    "503 as the contract says",
    "429",
    "marked stale",
)
ASKED = ("asked", "", "0", "0", "< 250 ms", "< 2", "", "", "", "", "")
SHOWN = 5
"""Requests that failed or were wrong, of each fault, that are shown."""


def main() -> None:
    """Drill, print and write."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="only see that everything runs")
    parser.add_argument("--only", default="", help="only faults whose name contains this")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    machine = {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version(), "busy": is_busy()}
    print(", ".join(f"{name} {value}" for name, value in machine.items()), end="\n\n", flush=True)
    print(_line(HEADINGS), _line(["---"] * len(HEADINGS)), _line(ASKED), sep="\n", flush=True)
    rows = []
    for fault, outcome in drills(
        [each for each in FAULTS if options.only in each.name], TINY if options.tiny else FULL
    ):
        rows.append(_row(fault, outcome))
        print(_line(_cells(rows[-1])), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine, "rows": rows}, indent=1, ensure_ascii=False)
    options.output.write_text(text + "\n")


def drills(faults: Iterable[Fault], sizes: Sizes) -> Iterator[tuple[Fault, Outcome | str]]:
    """Yield what each fault did, or why it could not be; faults of one site befall the same one."""
    for site, group in groupby(faults, lambda fault: fault.site):
        together = list(group)
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(site())
            except ServerAbsent as absent:
                yield from ((fault, str(absent)) for fault in together)
                continue
            for fault in together:
                yield fault, drill(fault, opened, sizes)


def _row(fault: Fault, outcome: Outcome | str) -> dict[str, Any]:
    if isinstance(outcome, str):
        return {"fault": fault.name, "not run": outcome}
    found = outcome.found
    for each in found.failed[:SHOWN]:
        print(
            f"  failed: {each.asked} {each.status} {each.head[:300]!r} {each.body[:300]!r}", file=sys.stderr
        )
    for why, each in found.wrong[:SHOWN]:
        print(f"  wrong: {why}: {each.body[:300]!r}", file=sys.stderr)
    met = not found.failed and not found.wrong and found.p99 < P99_MOST and outcome.recovered < RECOVERY_MOST
    return {
        "fault": fault.name,
        "requests": found.total,
        "failed": len(found.failed),
        "wrong or unmarked stale": len(found.wrong),
        "p99 during, s": round(found.p99, 4),
        "seconds to recover": round(outcome.recovered, 2),
        "met": met,
        "lost with a worker": found.lost,
        "503 as the contract says": found.named + outcome.refused_events,
        "429": found.limited,
        "marked stale": found.stale,
    }


def _cells(row: dict[str, Any]) -> Sequence[str]:
    if "not run" in row:
        return [row["fault"], f"not run: {row['not run']}", *[""] * (len(HEADINGS) - 2)]
    shown = {**row, "p99 during": in_words(row["p99 during, s"]), "met": "yes" if row["met"] else "**no**"}
    return [str(shown[name]) for name in HEADINGS]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
