"""Sentinel and Cluster beside one server, all real: ``python -m benchmarks.scaling``.

Prints one table and writes ``build/scaling.json``, as `benchmarks.engine` does.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import cluster_rows, takeover_rows
from benchmarks.engine import main

OUTPUT = Path("build/scaling.json")

if __name__ == "__main__":
    main(
        (cluster_rows.beside, cluster_rows.spread, cluster_rows.weight, takeover_rows.takeovers),
        str(__doc__),
        OUTPUT,
    )
