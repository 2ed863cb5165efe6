"""docs/security.md names tests that exist, and all attack tests are in it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/security.md").read_text()
NAMED = re.findall(r"`(test_[a-z_]+\.py)::(test_\w+)`", TEXT)


def test_each_test_that_is_named_exists() -> None:
    """File and function."""
    assert NAMED
    for file, function in NAMED:
        path = ROOT / "tests" / file
        assert path.exists(), file
        assert f"def {function}(" in path.read_text(), f"{file}::{function}"


def test_each_threat_and_promise_has_a_test() -> None:
    """No row of a table is only words."""
    heads = ("| threat |", "| promise |")
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith(heads)]
    assert len(rows) > 20
    assert [row for row in rows if "`test_" not in row] == []


def test_each_file_of_attacks_is_named() -> None:
    """Whoever adds one says there what it stands for."""
    files = {path.name for path in (ROOT / "tests").glob("test_*attacks*.py")}
    assert files - {file for file, _ in NAMED} == set()
