"""Prometheus' own tool, on the rules that are shipped."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.service import ROOT

DEPLOYED = ROOT / "deploy" / "prometheus"
RULES = sorted(DEPLOYED.glob("*.rules.yml"))
SECONDS = 60.0


def promtool(*words: str | Path) -> str:
    """Run it to its end; return what it says, or fail with that."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not there; on Debian and Ubuntu: apt install prometheus")
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
