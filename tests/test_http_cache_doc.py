"""docs/http-caching.md says what is so, and has every clause that is tested."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from cache_ext import HttpCacheOptions
from shivx.front import COVERED, OPTIONS
from tests.clauses import rows

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/http-caching.md").read_text()


def test_the_table_has_each_clause_with_its_test() -> None:
    """Row by row as the tests' own docstrings have it."""
    table = TEXT.split("| clause | what is so | test |\n|---|---|---|\n")[1]
    assert table.splitlines() == rows(ROOT / "tests")


def test_each_file_that_is_named_exists() -> None:
    """Tests, modules and documents."""
    for file in re.findall(r"`(test_[a-z_]+\.py)`", TEXT):
        assert (ROOT / "tests" / file).exists(), file
    named = re.findall(r" \[([a-z]+)(?:, ([a-z]+))?\]\s", TEXT)
    assert len(named) >= 4
    for module in filter(None, (name for pair in named for name in pair)):
        assert (ROOT / f"cache_ext/http_cache/{module}.py").exists(), module
    for path in COVERED:
        assert f"`{path}`" in TEXT


def test_each_option_that_is_named_exists() -> None:
    """And the service has those that the text says."""
    known = {field.name for field in fields(HttpCacheOptions)}
    named = {"heuristic", "max_body_bytes", "max_variants", "shown", "credentials"}
    assert named <= known
    assert all(f"`{name}" in TEXT for name in named)
    assert (OPTIONS.serve_stale, OPTIONS.heuristic) == (False, False)
    assert OPTIONS.credentials == ("Authorization", "Cookie", "X-API-Key")
