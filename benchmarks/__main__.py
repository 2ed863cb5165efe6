"""All that is measured, in one table: ``make bench``, or ``python -m benchmarks``.

The ten promises of the service over HTTP, the engine beside its peers, the front door beside its own. It
prints the table, "asked, got, peer", and writes ``build/bench.json``; a quarter of an hour on two cores, and
the machine for itself. Parts of it: ``--only``, with any of `benchmarks.engine` and the like.
"""

from __future__ import annotations

from benchmarks import change_rows, crowd_rows, door, engine, memory_rows, origin_rows, served_rows
from benchmarks.engine import main

PROMISES = (
    served_rows.steady,
    served_rows.curve,
    origin_rows.behind_a_slow_exchange,
    change_rows.outage,
    crowd_rows.one_key,
    memory_rows.worker,
    memory_rows.keys,
    memory_rows.passing,
    change_rows.event,
    crowd_rows.batch,
)
"""The ten; their rows begin with their numbers."""

if __name__ == "__main__":
    main((*PROMISES, *engine.MEASUREMENTS, *door.MEASUREMENTS), str(__doc__), engine.OUTPUT)
