"""The client that docs/api.md has generated of /openapi.json, used as it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import blocks_of
from tests.service import ROOT, GunicornService

pytestmark = pytest.mark.service

BASE = "http://127.0.0.1:8000"
SECONDS = 60.0
TOOLS = Path(sys.executable).parent


def run(command: list[str], folder: Path, **env: str) -> str:
    """Run *command* in *folder*, where the generated package lies, and return all that it printed."""
    ran = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": f"{TOOLS}:{os.environ['PATH']}"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_a_client_is_generated_and_works(tmp_path: Path) -> None:
    """No part of the document is left out; types are those of the answers, problems too; then the limit."""
    of_page = [block for block in blocks_of(ROOT / "docs/api.md") if block.run_by == Path(__file__).name]
    with GunicornService(env={"SHIVX_LIMIT_ANONYMOUS": "3"}) as service:
        generate, use = (block.text.replace(BASE, service.url) for block in of_page)
        told = run(["sh", "-ec", generate], tmp_path)
        assert "Warning" not in told, told
        package = str(tmp_path / "shivx-client")
        first, second = (run([sys.executable, "-c", use], tmp_path, PYTHONPATH=package) for _ in range(2))
    pair, price, state, left = first.splitlines()[0].split()
    assert (pair, float(price) > 0, state, left) == ("BTC-USDC", True, "fresh", "2")
    assert first.splitlines()[1].startswith("unknown_pair ")
    assert second.splitlines()[1].startswith("again in ")
