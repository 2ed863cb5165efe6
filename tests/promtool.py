"""Prometheus' own tool, on the rules that are shipped."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.servers import ServerAbsent
from tests.service import ROOT

DEPLOYED = ROOT / "deploy" / "prometheus"
RULES = sorted(DEPLOYED.glob("*.rules.yml"))
SECONDS = 60.0


def program_of_prometheus(name: str) -> str:
    """Return where one of its programs is. Raises ServerAbsent: it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise ServerAbsent(f"no {name} on this machine: apt-get install prometheus")
    return found


def promtool(*words: str | Path) -> str:
    """Run it to its end; return what it says, or fail with that."""
    program = program_of_prometheus("promtool")
    ran = subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=SECONDS, check=False, cwd=DEPLOYED
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def rules_test(folder: Path, series: Mapping[str, str], checks: Iterator[dict[str, Any]]) -> None:
    """Have the rules evaluated over *series*, in Prometheus' notation, a sample a minute, and compare."""
    tests = [
        {
            "interval": "1m",
            "external_labels": {"docs": "https://docs"},
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": list(checks),
        }
    ]
    file = folder / "test.json"  # JSON is YAML
    file.write_text(json.dumps({"rule_files": [str(path) for path in RULES], "tests": tests}))
    promtool("test", "rules", file)
