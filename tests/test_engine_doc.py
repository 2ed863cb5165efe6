"""docs/engine.md names tests, modules and sections that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/engine.md").read_text()


def test_each_test_that_is_named_exists() -> None:
    """File and function."""
    for file, function in re.findall(r"`(test_[a-z_*]+\.py)(?:::(test_\w+))?`", TEXT):
        found = list((ROOT / "tests").glob(file))
        assert found, file
        assert not function or f"def {function}(" in found[0].read_text(), f"{file}::{function}"


def test_each_module_that_is_named_exists() -> None:
    """By its path."""
    named = re.findall(r"\(`([a-z]+/[a-z_/]+)`\)", TEXT)
    assert named
    assert [name for name in named if not (ROOT / f"cache_ext/{name}.py").exists()] == []


def test_each_link_within_leads_to_a_section() -> None:
    """By the names that GitHub gives to headings."""
    headings = {
        re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings
