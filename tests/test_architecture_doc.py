"""docs/architecture.md names what there is, all of it."""

from __future__ import annotations

import re

from tests.service import ROOT

TEXT = (ROOT / "docs/architecture.md").read_text()


def test_each_folder_has_its_line() -> None:
    """All packages of the product, and the folder of scripts."""
    there = {
        str(path.parent.relative_to(ROOT))
        for top in ("cache_ext", "shivx")
        for path in (ROOT / top).glob("*/__init__.py")
    }
    named = set(re.findall(r"^\| `([\w/]+)` \|", TEXT, re.MULTILINE))
    assert named == there | {"blueprints", "cache_ext/lua"}


def test_each_file_that_is_named_exists() -> None:
    """Modules and pages."""
    named = re.findall(r"\b((?:shivx|cache_ext|tests)/\w+\.py)", TEXT)
    assert len(named) >= 3
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_each_thread_that_is_named_is_begun_somewhere() -> None:
    """By that name."""
    names = re.findall(r"^\| `((?:cache-ext|audit)-\w+)` \|", TEXT, re.MULTILINE)
    code = "".join(path.read_text() for top in ("cache_ext", "shivx") for path in (ROOT / top).rglob("*.py"))
    assert len(names) == 5
    assert [name for name in names if f'name="{name}"' not in code] == []
